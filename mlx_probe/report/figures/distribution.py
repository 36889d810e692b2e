"""Distributions: a mark for each tensor, in a row for each group, with quartiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mlx_probe.report.figures.axes import (
    add_legend,
    grid_of,
    log_axis,
    reliability_key,
    value_label,
    where,
)
from mlx_probe.report.figures.records import Point, Points
from mlx_probe.report.figures.style import HOLLOW, INK, escaped, line_style, shortened

__all__ = ["distribution_height", "draw_distribution"]

# Share of a row's height that its marks fill.
_FILLED = 0.72
# Steps of the golden ratio spread any number of marks evenly, and the same way each time.
_GOLDEN = 0.6180339887498949
_MOST_MARKS = 3000
# Inches of the rows of a panel, and the most of them that are named.
_TALLEST, _MOST_LABELS = 9.0, 48
_LONGEST = 40


def distribution_height(points: Points, width: float) -> float:
    """Inches that suit the rows, see `lines_height`."""
    each = max(0.2, 0.16 * len(points.runs))
    rows = min(_TALLEST, each * max(2, len(points.groups())))
    return 0.6 + len(points.panels()) * (0.3 + rows)


def draw_distribution(figure: Figure, points: Points) -> None:
    """Draw a row for each group, divided among the runs.

    Args:
        figure: An empty figure.
        points: One for each tensor.
    """
    groups, runs = points.groups(), points.runs
    band = _FILLED / len(runs)
    for axes, panel in zip(grid_of(figure, len(points.panels()), 1), points.panels(), strict=True):
        own = [point for point in points.points if point.panel == panel]
        for row, group in enumerate(groups):
            for at, run in enumerate(runs):
                members = [p for p in own if (p.group, p.run) == (group, run)]
                middle = row - _FILLED / 2 + band * (at + 0.5)
                if members:
                    _draw_row(axes, members, middle, band, line_style(at))
        named = range(0, len(groups), -(-len(groups) // _MOST_LABELS))
        axes.set_yticks(named, [escaped(groups[row]) for row in named])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_title(where(points, panel, ""))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        if points.rows_are.endswith("_index"):
            axes.set_ylabel(points.rows_are.removesuffix("_index"))
        if points.log:
            values = [point.value for point in own]
            log_axis(axes, "x", min(values), max(values))
    axes.set_xlabel(value_label(points))
    marks: dict[str, Any] = {"linestyle": "", "markersize": 3}
    keys = [
        Line2D([], [], label=escaped(shortened(run, _LONGEST)), **{**line_style(at), **marks})
        for at, run in enumerate(runs)
    ]
    add_legend(figure, [*(keys if len(runs) > 1 else []), *reliability_key(points.points)])


def _draw_row(
    axes: Axes, points: Sequence[Point], middle: float, band: float, style: Mapping[str, Any]
) -> None:
    color = style["color"]
    values = np.array([point.value for point in points])
    heights = middle + 0.8 * band * ((np.arange(len(values)) * _GOLDEN) % 1.0 - 0.5)
    bad = np.array([point.reliable is False for point in points])
    for hollow in (False, True):
        axes.plot(
            values[bad == hollow],
            heights[bad == hollow],
            linestyle="",
            marker=style["marker"],
            markersize=2.6,
            markerfacecolor=HOLLOW if hollow else color,
            markeredgecolor=color,
            markeredgewidth=0.8 if hollow else 0.4,
            alpha=0.8,
            rasterized=len(values) > _MOST_MARKS,
        )
    if len(values) > 4:
        low, center, high = np.quantile(values, (0.25, 0.5, 0.75))
        axes.plot([low, high], [middle, middle], color=INK, linewidth=1.0, solid_capstyle="butt")
        axes.plot(
            [center, center], [middle - band / 2, middle + band / 2], color=INK, linewidth=1.4
        )
