"""The tables that mlx-probe writes: their columns, and the titles of these."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare.columns import COLUMNS as COMPARE_COLUMNS
from mlx_probe.analysis.low_rank.columns import ADAPTER
from mlx_probe.analysis.low_rank.token_columns import TOKENS
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.core.messages import translated
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS
from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS

__all__ = ["column_title", "columns_by_table"]


def columns_by_table() -> Mapping[str, tuple[Column, ...]]:
    """Every table's columns, in their order; the tables in the order of the documentation."""
    return {
        "params": table_columns([metric.column for metric in METRICS]),
        **{name: side.columns for name, side in SIDES.items()},
        "compare": COMPARE_COLUMNS,
        "adapter": ADAPTER,
        "tokens": TOKENS,
        "monitor": SAMPLE_COLUMNS,
    }


@cache
def _titles() -> Mapping[str, str]:
    columns = (column for table in columns_by_table().values() for column in table)
    return {column.name: column.title for column in columns}


def column_title(name: str) -> str:
    """A column's heading written out, in the reader's language; the name if none has it.

    Args:
        name: Of a column of any table; a column has one title in all tables.
    """
    title = _titles().get(name)
    return translated(title) if title else name
