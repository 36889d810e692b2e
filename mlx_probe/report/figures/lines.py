"""Lines over the layers: one for each group, or one for each run in a panel for each group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mlx_probe.core.language import tr
from mlx_probe.report.figures.axes import (
    NARROW,
    add_legend,
    grid_of,
    log_axis,
    reliability_key,
    value_label,
    where,
)
from mlx_probe.report.figures.records import Point, Points
from mlx_probe.report.figures.style import HOLLOW, escaped, line_style, shortened

__all__ = ["draw_lines", "lines_height"]

_LONGEST = 40


def lines_height(points: Points, width: float) -> float:
    """Inches that suit the panels.

    Args:
        points: What is drawn.
        width: Of the figure, in inches.
    """
    if len(points.runs) > 1:
        panels = len(_panels_by_run(points))
        down = -(-panels // _across(panels, width))
        return 0.8 + down * (2.4 if panels == 1 else 1.3)
    legend = 0.0 if width >= NARROW else 0.16 * len(points.groups()) / 2
    return 0.4 + 2.3 * len(points.panels()) + legend


def draw_lines(figure: Figure, points: Points) -> None:
    """Draw the lines.

    Args:
        figure: An empty figure.
        points: All of them inside the layers.
    """
    if len(points.runs) > 1:
        _draw_runs(figure, points)
    else:
        _draw_groups(figure, points)


def _draw_groups(figure: Figure, points: Points) -> None:
    """One run: a line for each group, coloured by it."""
    groups = points.groups()
    for axes, panel in zip(grid_of(figure, len(points.panels()), 1), points.panels(), strict=True):
        own = [point for point in points.points if point.panel == panel]
        for at, group in enumerate(groups):
            _draw_line(axes, [p for p in own if p.group == group], at, lambda p: p.layer or 0)
        axes.set_title(where(points, panel, ""))
        axes.set_ylabel(value_label(points))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _scale(axes, points, own)
    axes.set_xlabel(tr("layer"))
    keys = [_key(at, _named(points, group)) for at, group in enumerate(groups)]
    add_legend(figure, [*(keys if len(groups) > 1 else []), *reliability_key(points.points)])


def _draw_runs(figure: Figure, points: Points) -> None:
    """Several runs: a panel for each group, in which a colour is a run."""
    panels = _panels_by_run(points)
    grid = grid_of(figure, len(panels), _across(len(panels), figure.get_figwidth()))
    for axes, (panel, group) in zip(grid, panels, strict=True):
        own = [point for point in points.points if (point.panel, point.group) == (panel, group)]
        for at, run in enumerate(points.runs):
            _draw_line(axes, [p for p in own if p.run == run], at, lambda p: p.depth or 0.0)
        axes.set_title(escaped(" ".join(filter(None, (panel, _named(points, group))))))
        _scale(axes, points, own)
        if axes.xaxis.get_tick_params()["labelbottom"]:
            axes.set_xlabel(tr("relative depth"))
    figure.supylabel(value_label(points), fontsize=8)
    keys = [_key(at, shortened(run, _LONGEST)) for at, run in enumerate(points.runs)]
    add_legend(figure, [*keys, *reliability_key(points.points)], below=True)


def _panels_by_run(points: Points) -> list[tuple[str, str]]:
    return list(dict.fromkeys((point.panel, point.group) for point in points.points))


def _across(panels: int, width: float) -> int:
    """Panels side by side: rows as even as they can be."""
    most = 4 if width >= NARROW else 2
    return -(-panels // -(-panels // most))


def _named(points: Points, group: str) -> str:
    """A group, with what it is where it is a number."""
    if group.isdigit():
        return f"{points.rows_are.removesuffix('_index')} {group}"
    return group


def _key(index: int, label: str) -> Line2D:
    return Line2D([], [], markersize=3, linewidth=1.2, label=escaped(label), **line_style(index))


def _draw_line(
    axes: Axes, points: Sequence[Point], index: int, place: Callable[[Point], float]
) -> None:
    """A line with a mark for each point, hollow where the fit is not reliable."""
    points = sorted(points, key=place)
    style = line_style(index)
    marker = style.pop("marker")
    axes.plot([place(p) for p in points], [p.value for p in points], linewidth=1.0, **style)
    for bad in (False, True):
        marked = [p for p in points if (p.reliable is False) == bad]
        face = HOLLOW if bad else style["color"]
        axes.plot(
            [place(p) for p in marked],
            [p.value for p in marked],
            linestyle="",
            marker=marker,
            markersize=3.0 if bad else 2.2,
            markerfacecolor=face,
            markeredgecolor=style["color"],
            markeredgewidth=0.7,
        )


def _scale(axes: Axes, points: Points, own: Sequence[Point]) -> None:
    values = [point.value for point in own]
    if points.log and values:
        log_axis(axes, "y", min(values), max(values))
    elif all(value.is_integer() for value in values):
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
