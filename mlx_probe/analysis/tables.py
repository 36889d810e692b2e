"""The tables that mlx-probe writes, and their columns."""

from __future__ import annotations

from collections.abc import Mapping

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare.columns import COLUMNS as COMPARE_COLUMNS
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS
from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS

__all__ = ["columns_by_table"]


def columns_by_table() -> Mapping[str, tuple[Column, ...]]:
    """Every table's columns, in their order; the tables in the order of the documentation."""
    return {
        "params": table_columns([metric.column for metric in METRICS]),
        **{name: side.columns for name, side in SIDES.items()},
        "compare": COMPARE_COLUMNS,
        "monitor": SAMPLE_COLUMNS,
    }
