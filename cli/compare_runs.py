"""`mlx-probe compare-runs`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_probe.analysis.compare_runs import ALL, BY, RunsTable
from mlx_probe.analysis.compare_runs import compare_runs as compare_them
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_text
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.compare_runs import runs_text

from .command import Command
from .console import output
from .document import json_option, print_document
from .options import complete_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["compare_runs"]

_SUFFIXES = (".html", ".htm")


@click.command(
    "compare-runs",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe compare-runs data/outputs/*",
        "mlx-probe compare-runs base tuned --metric stable_rank --metric alpha --relative",
        "mlx-probe compare-runs --catalog architecture=llama --sort alpha --out runs.html",
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN]...", type=click.Path(path_type=Path))
@click.option(
    "--catalog",
    "wanted",
    metavar="FILTER",
    help="The latest run of every model in the catalog that matches: architecture=llama, "
    "larger=1GB,tag=base ... with the names of `catalog list`'s options; a word alone is part of "
    'a name. "" matches all.',
)
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="MLX_PROBE_CATALOG",
    metavar="FILE",
    show_default="catalog.sqlite in the system's data folder",
    help="The catalog.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    show_default="a few",
    shell_complete=complete_metrics,
    help='A column of the runs or a number of their summaries; may be repeated; "all" for all.',
)
@click.option(
    "--sort",
    metavar="NAME",
    show_default="the first metric",
    shell_complete=complete_metrics,
    help="The metric to sort by; run or created_at for the order of names or of time.",
)
@click.option(
    "--ascending/--descending",
    default=None,
    show_default="the largest metric first",
    help="Which end comes first.",
)
@click.option(
    "--by",
    type=click.Choice(BY),
    default="component",
    help="What tensors are grouped by over the layers.",
)
@click.option(
    "--bins",
    type=click.IntRange(1, 1000),
    default=10,
    help="Bins of relative depth: layer / (layers - 1).",
)
@click.option("--relative", is_flag=True, help="Divide all numbers by those of the first RUN.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Write a page with every metric instead of printing the table; --json prints as well.",
)
@json_option
def compare_runs(
    runs: tuple[Path, ...],
    wanted: str | None,
    database: Path | None,
    metrics: tuple[str, ...],
    sort: str | None,
    ascending: bool | None,
    by: str,
    bins: int,
    relative: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare finished RUNs of `analyze` side by side, whatever their models.

    RUN is a run folder, its run_meta.json, or one of its tables; a model's folder means its
    latest run. Reads what the runs recorded, and no weights: one line for each run, the settings
    that make numbers incomparable, and metrics over the relative depth, so that the first and
    the last layers of all models are aligned. A run that cannot be read is listed with the
    reason.
    """
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"{out} does not name a page", "Give --out a name that ends in .html")
    paths: list[Path] = [*runs, *([] if wanted is None else _from_catalog(wanted, database))]
    if not paths:
        raise ConfigError("no run is named", "Name run folders, or models by --catalog FILTER")
    choices = partial(
        compare_them, paths, sort=sort, ascending=ascending, bins=bins, relative=relative
    )
    if out is not None:
        _write_page(choices(metrics=(*metrics, ALL), by=BY), out, err=as_json)
        if not as_json:
            return
    # The same document with a page and without: the page has many metrics more.
    table = choices(metrics=metrics, by=(by,))
    if as_json:
        print_document(table.as_json())
    else:
        console = output()
        console.print(runs_text(table, _drawn(table, metrics), console.width, console.encoding))


def _from_catalog(wanted: str, database: Path | None) -> list[Path]:
    """The latest run of each model that matches, in the order of the models' names."""
    # sqlite, which runs that are named by their folders do not need.
    from mlx_probe.library.catalog import (
        default_database,
        load_models,
        open_database,
        parse_filter,
        select_models,
    )

    query = parse_filter(wanted)
    with open_database(database or default_database()) as opened:
        models = select_models(load_models(opened), query)
    latest = (
        next((run.path for run in model.analyses if run.kind == "analyze"), None)
        for model in models
    )
    paths = [path for path in latest if path is not None]
    if not paths:
        raise ConfigError(
            f"no model in the catalog that matches {wanted!r} has a finished run",
            "See `mlx-probe catalog list --analyzed`, or look for runs by `mlx-probe catalog scan`",
        )
    return paths


def _drawn(table: RunsTable, metrics: Sequence[str]) -> list[str]:
    """Metrics whose profile is printed: those that the user named, or the first that has one."""
    if metrics:
        return list(metrics)
    names = [table.sort, *(metric.name for metric in table.metrics)]
    return [name for name in names if table.profile_groups(name)][:1]


def _write_page(table: RunsTable, out: Path, err: bool) -> None:
    # pandas and the plotting library's script, which a table in the terminal does not need.
    from mlx_probe.report.html.runs_page import runs_html

    write_text(out, runs_html(table))
    click.echo(f"{out} ({format_size(out.stat().st_size)})", err=err)
