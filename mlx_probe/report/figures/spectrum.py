"""Spectra: singular values over their ranks, both logarithmic, with noise and fitted tail."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from mlx_probe.core.language import tr
from mlx_probe.report.figures.axes import NARROW, add_legend, log_axis, value_label
from mlx_probe.report.figures.records import Curve, Curves
from mlx_probe.report.figures.style import COLORS, MUTED, NOISE, TAIL, escaped, shortened

__all__ = ["draw_spectrum", "spectrum_height"]

# Below this share of the largest a value would only stretch the plot.
_LOWEST = 1e-9
_LONGEST = 44


def spectrum_height(curves: Curves, width: float) -> float:
    """Inches that suit the axes, see `lines_height`."""
    named = sum(1 for curve in curves.curves if curve.kind in ("values", "tail"))
    return 2.7 + (0.0 if width >= NARROW else 0.17 * (2 + named))


def draw_spectrum(figure: Figure, curves: Curves) -> None:
    """Draw the spectra.

    Args:
        figure: An empty figure.
        curves: Their values, and what belongs to them.
    """
    axes = figure.subplots()
    matrices = list(dict.fromkeys((curve.run, curve.tensor) for curve in curves.curves))
    handles = []
    # Noise and tail lie under the values.
    order = ("edge", "noise", "tail", "values")
    for curve in sorted(curves.curves, key=lambda curve: order.index(curve.kind)):
        at = matrices.index((curve.run, curve.tensor))
        alone = len(matrices) == 1
        style = _style(curve, at, alone)
        (line,) = axes.plot(curve.ranks, curve.values, label=_label(curve, alone, curves), **style)
        if curve.kind in ("values", "tail") or alone:
            handles.append((at, -order.index(curve.kind), line))
    values = [value for curve in curves.curves if curve.kind == "values" for value in curve.values]
    top, floor = max(values), max(values) * _LOWEST
    lowest = min((value for value in values if value > 0), default=top)
    last = max(curve.ranks[-1] for curve in curves.curves)
    log_axis(axes, "x", 1, last)
    log_axis(axes, "y", max(lowest, floor), top)
    if lowest < floor:
        axes.set_ylim(floor, top * 2)
    axes.set_xlabel(tr("rank"))
    axes.set_ylabel(value_label(curves))
    add_legend(figure, [line for _, _, line in sorted(handles, key=lambda handle: handle[:2])])


def _style(curve: Curve, at: int, alone: bool) -> dict[str, Any]:
    color = COLORS[at % len(COLORS)]
    if curve.kind == "values":
        return {"color": color, "linewidth": 1.0, "marker": "o", "markersize": 1.8}
    if curve.kind == "tail":
        # Another dash as well, where it is not reliable: print may have no colours.
        reliable = curve.reliable is not False
        shown = (TAIL if reliable else MUTED) if alone else color
        dash: Any = "-" if reliable else (0, (2, 1))
        return {"color": shown, "linewidth": 2.4, "alpha": 0.7, "linestyle": dash}
    shown = NOISE if alone else color
    return {
        "color": shown,
        "linewidth": 1.2 if curve.kind == "noise" else 0.8,
        "linestyle": "--" if curve.kind == "noise" else ":",
    }


def _label(curve: Curve, alone: bool, curves: Curves) -> str:
    if curve.kind == "tail":
        alpha = f"{curve.alpha:.3g}"
        if curve.reliable is False:
            return tr("tail, alpha {alpha}, not reliable", alpha=alpha)
        return tr("tail, alpha {alpha}", alpha=alpha)
    if curve.kind == "noise":
        return tr("noise")
    if curve.kind == "edge":
        return tr("edge of noise")
    if alone:
        return tr("singular values")
    several_runs = len(curves.runs) > 1
    several_tensors = len({c.tensor for c in curves.curves}) > 1
    run = shortened(curve.run, _LONGEST) if several_runs else ""
    tensor = shortened(curve.tensor, _LONGEST) if several_tensors or not several_runs else ""
    return escaped("\n".join(filter(None, (run, tensor))))
