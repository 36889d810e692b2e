"""Curves over the steps of training: one for each run."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mlx_probe.core.language import tr
from mlx_probe.report.figures.axes import NARROW, add_legend, log_axis, value_label
from mlx_probe.report.figures.records import Series
from mlx_probe.report.figures.style import escaped, line_style, shortened

__all__ = ["draw_steps", "steps_height"]

_LONGEST = 40
# More marks than this hide the line.
_MOST_MARKS = 60


def steps_height(series: Series, width: float) -> float:
    """Inches that suit the curves, see `lines_height`."""
    legend = 0.16 * len(series.runs) if width < NARROW and len(series.runs) > 1 else 0.0
    return 2.7 + legend


def draw_steps(figure: Figure, series: Series) -> None:
    """Draw a curve for each run; a band reaches from the least to the largest of a stretch.

    Args:
        figure: An empty figure.
        series: The numbers.
    """
    axes = figure.subplots()
    for at, run in enumerate(series.runs):
        own = [point for point in series.points if point.run == run]
        places = [point.place(series.over) for point in own]
        style = line_style(at)
        if len(own) > _MOST_MARKS:
            style["marker"] = ""
        axes.plot(places, [p.value for p in own], linewidth=1.0, markersize=2.4, **style)
        if any(point.count > 1 for point in own):
            axes.fill_between(
                places,
                [p.low for p in own],
                [p.high for p in own],
                color=style["color"],
                alpha=0.2,
                linewidth=0,
            )
    if series.log:
        values = [point.value for point in series.points]
        log_axis(axes, "y", min(values), max(values))
    axes.set_ylabel(value_label(series))
    over = tr(series.over_title)
    axes.set_xlabel(f"{over} ({tr(series.over_unit)})" if series.over_unit else over)
    if series.over != "seconds":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    keys = [
        Line2D([], [], linewidth=1.2, markersize=3, label=label, **line_style(at))
        for at, label in enumerate(escaped(shortened(run, _LONGEST)) for run in series.runs)
    ]
    add_legend(figure, keys if len(keys) > 1 else [], below=True)
