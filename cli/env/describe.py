"""`mlx-probe env list`, `export` and `document`: what there is, and what is in it."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.files import write_text
from mlx_probe.core.language import tr
from mlx_probe.library.environments import (
    Place,
    environment_facts,
    environment_markdown,
    environments_folder,
    export,
    list_environments,
)
from mlx_probe.report.terminal.environments import list_text
from mlx_probe.report.terminal.text import printable

from .common import folder_option, name_argument

__all__ = ["document_command", "export_command", "list_command"]


@click.command(
    "list", cls=Command, examples=("mlx-probe env list", "mlx-probe env list --folder envs --json")
)
@folder_option
@json_option
def list_command(folder: Path | None, as_json: bool) -> None:
    """List the environments: state, template, Python, packages, size, last check."""
    found = list_environments(environments_folder(folder))
    if as_json:
        print_document([each.describe() for each in found])
    else:
        output().print(list_text(found, environments_folder(folder)))


@click.command(
    "export",
    cls=Command,
    examples=("mlx-probe env export work --out work.lock.txt",),
)
@name_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The lock file; replaced if it exists.",
)
@folder_option
@json_option
def export_command(name: str, out: Path, folder: Path | None, as_json: bool) -> None:
    """Write the exact versions in NAME, with hashes, for `env create --lock`.

    pip and uv read the file as well: its lines are name==version --hash=sha256:...
    """
    lock = export(Place(environments_folder(folder), name), out)
    hashed = sum(bool(pin.hashes) for pin in lock.pins)
    if as_json:
        described = {
            "name": name,
            "out": str(out),
            "python": lock.python,
            "platform": lock.platform,
            "template": lock.template.name,
            "packages": lock.versions,
            "hashed": hashed,
        }
        print_document(described)
        return
    line = tr(
        "{path}: {count} packages, {hashed} with hashes, for Python {python} on {platform}",
        path=printable(str(out)),
        count=len(lock.pins),
        hashed=hashed,
        python=lock.release,
        platform=lock.platform,
    )
    output().print(line, soft_wrap=True)


@click.command(
    "document",
    cls=Command,
    examples=(
        "mlx-probe env document work",
        "mlx-probe env document work --out environment.md",
    ),
)
@name_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.md",
    help="Write it there instead of standard output.",
)
@folder_option
@json_option
def document_command(name: str, out: Path | None, folder: Path | None, as_json: bool) -> None:
    """Describe NAME in Markdown, from what is installed: packages, licences, sizes, last check."""
    place = Place(environments_folder(folder), name)
    text = environment_markdown(place)
    if out is not None:
        write_text(out, text)
    if as_json:
        # Data instead of the document, which is in the reader's language.
        print_document({"out": None if out is None else str(out), **environment_facts(place)})
    elif out is None:
        click.echo(text, nl=False)
    else:
        output().print(f"  {printable(str(out))}", soft_wrap=True)
