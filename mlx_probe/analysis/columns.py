"""The columns of an analysis, and their order with the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_probe.analysis.identity_columns import NAMES_AND_SHAPES, PLACE_AND_SIZE
from mlx_probe.analysis.run_columns import HOST, MADE_BY, WORK
from mlx_probe.analysis.storage_columns import STORAGE
from mlx_probe.core.records import Column

__all__ = ["BASE_COLUMNS", "SPECTRUM_IDENTITY", "table_columns"]

# Columns beside the singular values of a matrix: its identity, and the error of its values.
SPECTRUM_IDENTITY = (
    *("param_name", "expert_index", "part", "layer_index", "block_type", "rows", "cols"),
    *("spectrum_method", "spectrum_error"),
)

# Metric columns that the first tables of this project had between `cols` and `dtype`: they stay
# there so that old notebooks read new tables.
SEED_METRICS = ("rank", "mean", "std", "var", "sparsity")
_LAST_BEFORE_SEED_METRICS = "cols"

BASE_COLUMNS: tuple[Column, ...] = (
    *NAMES_AND_SHAPES,
    *MADE_BY,
    *PLACE_AND_SIZE,
    *WORK,
    *STORAGE,
    HOST,
)


def table_columns(metrics: Sequence[Column]) -> tuple[Column, ...]:
    """All columns of a table in their final order.

    Args:
        metrics: The metric columns, in the order of their families.

    Returns:
        The base columns with `SEED_METRICS` after ``cols``, then the other metrics as given.

    Raises:
        ValueError: A seed metric is missing, or a name appears twice.
    """
    by_name = {column.name: column for column in metrics}
    if missing := [name for name in SEED_METRICS if name not in by_name]:
        raise ValueError(f"metric columns lack {', '.join(missing)}")
    names = [column.name for column in (*BASE_COLUMNS, *metrics)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"column names appear twice: {', '.join(twice)}")

    split = 1 + [column.name for column in BASE_COLUMNS].index(_LAST_BEFORE_SEED_METRICS)
    return (
        *BASE_COLUMNS[:split],
        *(by_name[name] for name in SEED_METRICS),
        *BASE_COLUMNS[split:],
        *(column for column in metrics if column.name not in SEED_METRICS),
    )
