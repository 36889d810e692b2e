"""`runs reproduce`: the command of a run, and whether it makes the same again."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import with_database
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.language import tr
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import resolve_run

from .common import run_argument

__all__ = ["reproduce_command"]


@click.command(
    "reproduce",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe runs reproduce runs/shakespeare",
        "mlx-probe runs reproduce 3f2a --run --out runs/again",
        "mlx-probe runs reproduce 3f2a --run --python ENV/bin/python --tolerance 1e-5",
    ),
)
@run_argument
@click.option("--run", "is_run", is_flag=True, help="Run the command, and compare the results.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the new run: empty, or not there.  [default: one beside the run]",
)
@click.option(
    "--against",
    metavar="RUN",
    help="Compare with a run that was made again already, not with a new one.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    metavar="SHARE",
    default=0.0,
    help="How far a number may be off, over the number itself; 0 for equal to the bit.",
)
@click.option(
    "--anyway", is_flag=True, help="Run it although versions or inputs are not as they were."
)
@click.option(
    "--python",
    metavar="PATH",
    help="Interpreter of an environment with mlx-probe.  [default: this one]",
)
@json_option
@with_database
def reproduce_command(
    database: Database,
    run: str,
    is_run: bool,
    out: Path | None,
    against: str | None,
    tolerance: float,
    anyway: bool,
    python: str | None,
    as_json: bool,
) -> None:
    """Print the exact command of RUN, and what is not as it was when it ran.

    The line can be pasted into a shell: it has the folder and the environment variables that
    matter. Below it are the versions, the code, the machine and the inputs that differ now.

    --run runs it into a new folder and compares: numbers, tables, curves, and files by their
    bytes; what a run took in time and memory is left out. Where something that can change a
    result is not as it was, it refuses, and names it. The exit code is 1 if a result differs.
    """
    from mlx_probe.library.reproduce import Reproduction, reproduce
    from mlx_probe.report.terminal.reproduction import begun_text, results_text

    def say(found: Reproduction) -> None:
        if not as_json:
            output().print(begun_text(found), markup=False, soft_wrap=True)

    found = reproduce(
        resolve_run(run, database),
        is_run,
        out,
        None if against is None else resolve_run(against, database),
        tolerance,
        anyway,
        python,
        say,
    )
    if as_json:
        print_document(found.describe())
    else:
        if not is_run:
            say(found)
        if found.out is not None:
            output().print(results_text(found), markup=False, soft_wrap=True)
    if not found.is_same:
        count = sum(not each.is_within(tolerance) for each in found.compared)
        raise click.ClickException(
            tr("{count} of {all} results differ", count=count, all=len(found.compared))
        )
