"""`runs list`: runs, filtered and sorted."""

from __future__ import annotations

from typing import Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_list
from mlx_probe.core.language import tr
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import (
    StoredRun,
    load_runs,
    quantity_of,
    select_runs,
    sort_runs,
)
from mlx_probe.report.terminal.experiments import runs_list

from .common import filter_options, selection_of, with_runs

__all__ = ["list_command"]


@click.command(
    "list",
    cls=Command,
    examples=(
        'mlx-probe runs list --where "val_loss<3.2" --sort val_loss',
        "mlx-probe runs list --kind train --since 7d --tag sweep",
        'mlx-probe runs list --where "config.train.lr=0.001" --json',
    ),
)
@filter_options
@click.option(
    "--sort",
    default="",
    metavar="NAME",
    help="A field, metric or setting, smallest first.  [default: the newest first]",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Show this metric in a column; may be repeated.",
)
@json_option
@with_runs
def list_command(
    database: Database,
    /,
    sort: str,
    reverse: bool,
    limit: int | None,
    metrics: tuple[str, ...],
    as_json: bool,
    **filters: Any,
) -> None:
    """List runs, filtered and sorted."""
    selection = selection_of(**filters)
    every = load_runs(database)
    runs = sort_runs(select_runs(every, selection), every, sort, reverse)[:limit]
    if as_json:
        print_list(run.describe() for run in runs)
        return
    named = [*metrics, sort, *(condition.name for condition in selection.conditions)]
    console = output()
    console.print(runs_list(runs, _metrics(every, named), console.width))
    if not every:
        console.print(tr("No runs are known: run `mlx-probe runs scan FOLDER`"), soft_wrap=True)


def _metrics(every: list[StoredRun], names: list[str]) -> list[str]:
    """Those of some names that are metrics: what a list is about has a column."""
    quantities = [quantity_of(every, name).name for name in filter(None, names)] if every else []
    known = (name for name in quantities if any(name in run.metrics for run in every))
    return list(dict.fromkeys(known))
