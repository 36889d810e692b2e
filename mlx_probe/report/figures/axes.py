"""What the drawings have in common: panels, labels, scales, legends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from mlx_probe.core.language import tr
from mlx_probe.report.figures.records import Content, Point, Points
from mlx_probe.report.figures.style import HOLLOW, INK, escaped, shortened

__all__ = [
    "NARROW",
    "add_legend",
    "grid_of",
    "log_axis",
    "log_ticks",
    "reliability_key",
    "unreliable_text",
    "value_label",
    "where",
]

# Inches: below this a legend stands under the panels, and fewer panels side by side.
NARROW = 5.0
_LONGEST = 34
# Decades, and the labelled steps of each decade up to these.
_STEPS = (
    (0.8, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)),
    (2.5, (1.0, 2.0, 5.0)),
    (math.inf, (1.0,)),
)
# Letters of a legend to the inch, and those that a line's sample takes.
_LETTERS, _SAMPLE = 15, 6


def grid_of(figure: Figure, count: int, across: int, *, sharey: bool = False) -> list[Axes]:
    """Panels in rows of at most ``across``; those of the last row that are not needed are left out.

    Args:
        figure: The figure.
        count: Panels.
        across: The most side by side.
        sharey: Whether all have one vertical axis.
    """
    across = min(across, count)
    down = math.ceil(count / across)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=sharey)
    flat = [axes for row in panels for axes in row]
    for axes in flat[count:]:
        axes.remove()
    for axes in flat[max(0, count - across) : count]:
        axes.tick_params(labelbottom=True)
    return flat[:count]


def log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    """A logarithmic axis with plain numbers, more of each decade where few are spanned."""
    getattr(axes, f"set_{which}scale")("log")
    log_ticks(getattr(axes, f"{which}axis"), low, high)


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """The ticks of `log_axis`, for a scale that is logarithmic already."""
    decades = math.log10(high / low) if low > 0 else 0.0
    steps = next(steps for most, steps in _STEPS if decades <= most)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    if len(steps) > 1:
        axis.set_minor_locator(NullLocator())


def value_label(content: Content) -> str:
    """The heading of the values, with their unit."""
    name = escaped(tr(content.title))
    return f"{name} ({tr(content.unit)})" if content.unit else name


def where(points: Points, panel: str, run: str) -> str:
    """The heading of a panel: the run where there are several, and the group it is about."""
    parts = [shortened(run, _LONGEST)] if len(points.runs) > 1 else []
    return escaped(", ".join([*parts, *([panel] if panel else [])]))


def unreliable_text(points: Sequence[Point]) -> str:
    """How many places have a fit that is not reliable, for a legend; "" without any."""
    judged = [point for point in points if point.reliable is not None]
    bad = sum(not point.reliable for point in judged)
    if not bad:
        return ""
    return tr("fit not reliable ({bad} of {count})", bad=bad, count=len(judged))


def reliability_key(points: Sequence[Point]) -> list[Any]:
    """The entry of a legend that says what hollow marks mean; none where there is none."""
    text = unreliable_text(points)
    if not text:
        return []
    style: dict[str, Any] = {"markerfacecolor": HOLLOW, "markeredgecolor": INK, "markersize": 4}
    return [Line2D([], [], linestyle="", marker="o", label=text, **style)]


def add_legend(figure: Figure, handles: Sequence[Any], *, below: bool = False) -> None:
    """A legend beside the panels, or below them.

    Args:
        figure: The figure.
        handles: What it lists; nothing is drawn without any.
        below: Whether it stands below in a wide figure, too.
    """
    if not handles:
        return
    width = figure.get_figwidth()
    if width >= NARROW and not below:
        figure.legend(handles=[*handles], loc="outside right upper")
        return
    lengths = [max(map(len, str(handle.get_label()).split("\n"))) for handle in handles]
    across = next(n for n in range(len(handles), 0, -1) if n == 1 or _fits(lengths, n, width))
    figure.legend(handles=[*handles], loc="outside lower center", ncols=across)


def _fits(lengths: Sequence[int], across: int, width: float) -> bool:
    """Whether a legend of that many columns is narrow enough."""
    # As matplotlib fills them: one after the other, the first ones longer where they differ.
    columns = np.array_split(np.array(lengths), across)
    return sum(int(column.max()) + _SAMPLE for column in columns) <= width * _LETTERS
