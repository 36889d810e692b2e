"""The views and their columns, for those who write a statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_probe.core.records import Column
from mlx_probe.library.query.catalog import FILE_COLUMNS, MODEL_COLUMNS
from mlx_probe.library.query.engine import sql_types
from mlx_probe.library.query.facts import FINDING_COLUMNS, RUN_COLUMNS
from mlx_probe.library.query.stored import Scope, find_named_runs
from mlx_probe.library.query.views import QUERY_VIEWS, build, known_views

__all__ = ["OWN_COLUMNS", "DescribedView", "describe_views"]

# The columns that are declared here; those of runs' tables are declared where they are computed.
OWN_COLUMNS: dict[str, Sequence[Column]] = {
    "runs": RUN_COLUMNS,
    "findings": FINDING_COLUMNS,
    "models": MODEL_COLUMNS,
    "model_files": FILE_COLUMNS,
}


@dataclass(frozen=True)
class DescribedView:
    """A view.

    Attributes:
        name: Its name.
        about: What its rows are; "" for a table beside the main one.
        columns: Name, and type in SQL, of each column.
    """

    name: str
    about: str
    columns: tuple[tuple[str, str], ...]


def describe_views(scope: Scope) -> list[DescribedView]:
    """Every view that there is with these runs.

    Raises:
        ResultError: A run is damaged.
        ConfigError: DuckDB is not installed.
    """
    runs = find_named_runs(scope)
    described = []
    for name in known_views(runs):
        columns = sql_types(build(name, runs, scope))
        about = QUERY_VIEWS[name].about if name in QUERY_VIEWS else ""
        described.append(DescribedView(name, about, tuple(columns)))
    return described
