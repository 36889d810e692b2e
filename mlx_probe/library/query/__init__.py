"""Questions in SQL about finished runs and the catalog, answered by DuckDB without writing."""

from mlx_probe.library.query.query import Answer, ask, query
from mlx_probe.library.query.schema import OWN_COLUMNS, DescribedView, describe_views
from mlx_probe.library.query.stored import Scope

__all__ = [
    "OWN_COLUMNS",
    "Answer",
    "DescribedView",
    "Scope",
    "ask",
    "describe_views",
    "query",
]
