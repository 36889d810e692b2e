"""`mlx-probe env check`."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.files import write_text
from mlx_probe.core.language import tr
from mlx_probe.library.environments import (
    CheckConfig,
    Place,
    check,
    check_markdown,
    environments_folder,
    read_lock,
)
from mlx_probe.report.terminal.environments import check_text
from mlx_probe.report.terminal.text import printable

from .common import folder_option, name_argument, working

__all__ = ["check_command"]

_DEFAULTS = CheckConfig()


@click.command(
    "check",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe env check work",
        "mlx-probe env check work --lock work.lock.txt --out check.md",
    ),
)
@name_argument
@click.option(
    "--lock",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Compare versions with those of a lock file.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULTS.timeout,
    metavar="SECONDS",
    help="Longest time for the test of each framework.",
)
@click.option("--quick", is_flag=True, help="Compare sizes of files instead of their SHA-256.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.md",
    help="Write the table with problems and remedies as Markdown, too.",
)
@folder_option
@json_option
def check_command(
    name: str,
    lock: Path | None,
    timeout: float,
    quick: bool,
    out: Path | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Check the environment NAME: its Python, isolation, files, versions and frameworks.

    Each framework of its template has to pass its smallest real test, such as a product of
    matrices. The exit code is 1 if anything is broken.
    """
    place = Place(environments_folder(folder), name)
    locked = None if lock is None else read_lock(lock)
    with working(tr("checking {name}", name=name)) as on_step:
        checked = check(place, CheckConfig(locked, timeout, not quick), on_step)
    if out is not None:
        write_text(out, check_markdown(checked))
    if as_json:
        print_document(checked.describe())
    else:
        console = output()
        console.print(check_text(checked))
        if out is not None:
            console.print(f"  {printable(str(out))}", soft_wrap=True)
    if errors := checked.counts["error"]:
        raise click.ClickException(f"{errors} of {len(checked.outcomes)} checks found it broken")
