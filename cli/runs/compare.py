"""`runs compare` and `runs diff`: runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import complete_files
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_text
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import find_run
from mlx_probe.library.experiments.comparing import compare_runs_of, diff_runs
from mlx_probe.report.terminal.plain import plain
from mlx_probe.report.terminal.run_comparison import comparison_text, difference_text

from .common import runs_argument, with_runs

__all__ = ["compare_command", "diff_command"]


@click.command(
    "compare",
    cls=Command,
    examples=(
        "mlx-probe runs compare 3f2a 98f4 runs/wide",
        "mlx-probe runs compare 3f2a 98f4 --out runs.html",
    ),
)
@runs_argument
@click.option("--all", "every", is_flag=True, help="Show settings that agree, too.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with the runs' curves over each other.",
)
@json_option
@with_runs
def compare_command(
    database: Database, runs: tuple[str, ...], every: bool, out: Path | None, as_json: bool
) -> None:
    """Put settings and results of runs side by side."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{out} is no page", "Name a file that ends in .html")
    found = [find_run(run, database) for run in runs]
    comparison = compare_runs_of(list({run.number: run for run in found}.values()))
    if out is not None:
        from mlx_probe.report.html.experiments_page import experiments_html

        write_text(out, experiments_html(comparison))
    if as_json:
        print_document({**comparison.describe(), "page": None if out is None else str(out)})
    elif out is not None:
        click.echo(plain(str(out)))
    else:
        console = output()
        console.print(comparison_text(comparison, console.width, every))


@click.command(
    "diff",
    cls=Command,
    examples=("mlx-probe runs diff 3f2a 98f4",),
)
@click.argument("a", metavar="A", shell_complete=complete_files)
@click.argument("b", metavar="B", shell_complete=complete_files)
@json_option
@with_runs
def diff_command(database: Database, a: str, b: str, as_json: bool) -> None:
    """Show what differs between two runs.

    Settings, environment, inputs and results. A * marks the better of two results where it is
    known which way is better.
    """
    difference = diff_runs(find_run(a, database), find_run(b, database))
    if as_json:
        print_document(difference.describe())
    else:
        output().print(difference_text(difference))
