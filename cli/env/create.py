"""`mlx-probe env create`."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size
from mlx_probe.library.environments import (
    MAKERS,
    InstallError,
    Lock,
    Made,
    Place,
    Sources,
    Template,
    create,
    environments_folder,
    folder_size,
    read_lock,
    read_template,
)
from mlx_probe.report.terminal.plain import plain
from mlx_probe.report.terminal.text import printable

from .common import folder_option, name_argument, working

__all__ = ["create_command"]


@click.command(
    "create",
    cls=Command,
    examples=(
        "mlx-probe env create work --template mlx",
        "mlx-probe env create again --lock work.lock.txt",
        "mlx-probe env create mine --template ./mine.yaml --maker uv --python 3.12",
    ),
)
@name_argument
@click.option(
    "--template",
    metavar="TEMPLATE",
    help="What it is made of: mlx, torch-mps, llama.cpp, agents, or the path of a YAML file.",
)
@click.option(
    "--lock",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Install the exact versions of a lock file that `env export` has written.",
)
@click.option(
    "--maker",
    type=click.Choice(list(MAKERS)),
    help="What makes it.  [default: the first of these that is installed]",
)
@click.option(
    "--python",
    metavar="PYTHON",
    help="A version such as 3.12, or the path of a Python.  [default: one that fits the template]",
)
@click.option(
    "--wheels",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Take packages from a folder of wheels as well; may be repeated.",
)
@click.option("--offline", is_flag=True, help="Use no index: only --wheels, and pip's own folders.")
@click.option("--replace", is_flag=True, help="Replace an environment of this name.")
@folder_option
@json_option
def create_command(
    name: str,
    template: str | None,
    lock: Path | None,
    maker: str | None,
    python: str | None,
    wheels: tuple[Path, ...],
    offline: bool,
    replace: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Make the environment NAME from a template, or again from a lock file.

    It shares no packages with others. An attempt that fails or is interrupted leaves nothing but
    its log; with --replace the environment that was there comes back.
    """
    began = time.monotonic()
    place = Place(environments_folder(folder), name)
    locked = None if lock is None else read_lock(lock)
    content = _template(template, lock, locked)
    with working(tr("making {name}", name=name)) as on_line:
        try:
            made = create(
                place,
                content,
                locked,
                "" if template in (None, content.name) else str(Path(template).absolute()),
                str(lock.absolute()) if lock else "",
                maker,
                python,
                Sources(wheels, offline),
                replace,
                on_line,
            )
        except InstallError as error:
            for line in error.output:
                click.echo(plain(line), err=True)
            click.echo(tr("The whole output: {path}", path=plain(str(place.log))), err=True)
            raise
    seconds = time.monotonic() - began
    if as_json:
        print_document(_described(made, seconds))
        return
    console, size = output(), folder_size(made.place.path)
    line = tr(
        "made {name}: Python {python}, {count} packages, {size}, by {maker} in {seconds} s",
        name=printable(name),
        python=made.record.python,
        count=len(made.packages),
        size=format_size(size),
        maker=made.record.maker,
        seconds=f"{seconds:.1f}",
    )
    console.print(line, soft_wrap=True)
    command = shlex.join(["source", str(place.path / "bin" / "activate")])
    console.print("  " + printable(command), soft_wrap=True)


def _template(name: str | None, lock: Path | None, locked: Lock | None) -> Template:
    """The template that was named, or the lock's.

    Raises:
        ConfigError: There is neither, or the lock is of another one.
    """
    if name is None:
        if locked is None:
            raise ConfigError(
                "neither a template nor a lock file is given", "Add --template mlx, or --lock FILE"
            )
        return locked.template
    template = read_template(name)
    if locked is not None and template.sha256 != locked.template.sha256:
        raise ConfigError(
            f"{lock} was made from another template than {name}, or from an older one",
            "Leave --template out: the lock file has its own",
        )
    return template


def _described(made: Made, seconds: float) -> dict[str, object]:
    record = made.record
    return {
        "name": record.name,
        "folder": str(made.place.path),
        "template": record.template.name,
        "template_sha256": record.template.sha256,
        "maker": record.maker,
        "python": record.python,
        "platform": record.platform,
        "lock": record.lock or None,
        "packages": record.versions,
        "size": folder_size(made.place.path),
        "seconds": round(seconds, 3),
    }
