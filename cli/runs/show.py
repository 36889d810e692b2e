"""`runs show`: one run."""

from __future__ import annotations

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import find_run
from mlx_probe.report.terminal.experiments import run_text

from .common import run_argument, with_runs

__all__ = ["show_command"]


@click.command(
    "show",
    cls=Command,
    examples=(
        "mlx-probe runs show 3f2a",
        "mlx-probe runs show runs/shakespeare --json",
    ),
)
@run_argument
@json_option
@with_runs
def show_command(database: Database, run: str, as_json: bool) -> None:
    """Show all that is known about a run."""
    found = find_run(run, database)
    if as_json:
        print_document(found.describe())
    else:
        output().print(run_text(found))
