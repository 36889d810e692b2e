"""The document of plot."""

from __future__ import annotations

from .shape import ANYTHING, FLAG, TEXT, Schema, listed, mapping, nullable, record

__all__ = ["PLOT"]

PLOT: Schema = record(
    {
        "view": (TEXT, "lines, map, distribution or spectrum."),
        "metric": (nullable(TEXT), "The column."),
        "title": (TEXT, "Above the figure."),
        "unit": (TEXT, "Unit of the values."),
        "log": (FLAG, "Whether the scale is logarithmic."),
        "runs": (listed(TEXT), "The runs, in order."),
        "points": (listed(mapping(ANYTHING)), "The numbers that are drawn."),
    }
)
