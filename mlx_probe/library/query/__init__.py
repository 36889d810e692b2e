"""Questions in SQL about finished runs and the catalog, answered by DuckDB without writing."""

from mlx_probe.library.query.engine import MOST_COUNTED
from mlx_probe.library.query.query import Answer, ask, query
from mlx_probe.library.query.schema import OWN_COLUMNS, DescribedView, describe_views
from mlx_probe.library.query.stored import NamedRun, Scope, find_named_runs

__all__ = [
    "MOST_COUNTED",
    "OWN_COLUMNS",
    "Answer",
    "DescribedView",
    "NamedRun",
    "Scope",
    "ask",
    "describe_views",
    "find_named_runs",
    "query",
]
