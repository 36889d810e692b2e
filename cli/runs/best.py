"""`runs best`: the best run by a metric."""

from __future__ import annotations

from typing import Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import load_runs, select_runs
from mlx_probe.library.experiments.best import best_runs
from mlx_probe.report.terminal.run_comparison import best_text

from .common import filter_options, selection_of, with_runs

__all__ = ["best_command"]


@click.command(
    "best",
    cls=Command,
    examples=(
        "mlx-probe runs best --by val_loss --kind train",
        "mlx-probe runs best --by accuracy --tag sweep --json",
    ),
)
@click.option("--by", "metric", required=True, metavar="METRIC", help="What counts.")
@click.option("--max", "direction", flag_value="max", default="", help="The largest is the best.")
@click.option("--min", "direction", flag_value="min", default="", help="The smallest is the best.")
@filter_options
@json_option
@with_runs
def best_command(
    database: Database, /, metric: str, direction: str, as_json: bool, **filters: Any
) -> None:
    """Find the best run by a metric.

    Which way a common metric is better is known; for others add --max or --min.
    """
    selection = selection_of(**filters)
    every = load_runs(database)
    best = best_runs(select_runs(every, selection), every, metric, direction)
    if as_json:
        print_document(
            {
                "metric": best.metric,
                "direction": best.direction,
                "value": best.value,
                "runs": [run.describe() for run in best.runs],
                "ranked": [{"id": run.id, "value": value} for run, value in best.ranked],
                "missing": best.missing,
            }
        )
    else:
        output().print(best_text(best), soft_wrap=True)
