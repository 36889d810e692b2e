"""The views of a query with what their columns mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare.columns import COLUMNS as COMPARE_COLUMNS
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.library.query import OWN_COLUMNS, DescribedView
from mlx_probe.metrics import METRICS

__all__ = ["schema_document"]

_OF_EVERY_VIEW = {
    "run": "Name of the run, as in the view runs.",
    "singular_values": "All of them, descending; the leading ones of an approximate method.",
}


def schema_document(views: Sequence[DescribedView]) -> dict[str, Any]:
    """Name, rows and columns of each view, for JSON."""
    return {
        "views": [
            {
                "name": view.name,
                "rows": view.about or _about(view.name),
                "columns": [
                    {"name": name, "type": kind, "description": _meanings(view.name).get(name, "")}
                    for name, kind in view.columns
                ],
            }
            for view in views
        ]
    }


def _about(name: str) -> str:
    return SIDES[name].about if name in SIDES else ""


def _meanings(view: str) -> dict[str, str]:
    if view in OWN_COLUMNS:
        return {column.name: column.description for column in OWN_COLUMNS[view]}
    if view in SIDES:
        columns: Sequence[Any] = SIDES[view].columns
    elif view == "compare":
        columns = COMPARE_COLUMNS
    else:
        columns = table_columns([metric.column for metric in METRICS])
    return {**_OF_EVERY_VIEW, **{column.name: column.description for column in columns}}
