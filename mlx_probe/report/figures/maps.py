"""Maps: groups by layers, with a colour for each value."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from mlx_probe.core.language import tr
from mlx_probe.report.figures.axes import log_ticks, unreliable_text, value_label, where
from mlx_probe.report.figures.records import Points
from mlx_probe.report.figures.style import CMAP, HOLLOW, INK, escaped

__all__ = ["draw_maps", "maps_height"]

_HATCH = "////"
# Beyond this the cells of a vector file are one image: it stays small.
_MOST_CELLS = 4000
_MOST_LABELS = 24
# Inches between the numbers of layers, and from them to the word behind the last.
_TICK, _WORD = 0.24, 0.36


def maps_height(points: Points, width: float) -> float:
    """Inches that suit the maps, see `lines_height`."""
    each = min(6.0, max(0.5, 0.17 * len(points.groups())))
    return 0.55 + len(_panels(points)) * (each + 0.35)


def draw_maps(figure: Figure, points: Points) -> None:
    """Draw a map for each run and panel, all with the same colours.

    Args:
        figure: An empty figure.
        points: One for each place.
    """
    panels = _panels(points)
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    values = [point.value for point in points.points]
    low, high = min(values), max(values)
    norm = LogNorm(low, high) if points.log else Normalize(low, high)
    for axes, (run, panel) in zip(grid, panels, strict=True):
        mesh = _draw_map(axes, points, run, panel, norm)
        axes.set_title(where(points, panel, run))
    axes.set_xlabel(tr("layer"))
    bar = figure.colorbar(mesh, ax=list(grid), label=value_label(points), pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    if points.log:
        log_ticks(bar.ax.yaxis, low, high)
    text = unreliable_text(points.points)
    if text:
        hatched = Patch(facecolor=HOLLOW, edgecolor=INK, hatch=_HATCH, linewidth=0.4, label=text)
        figure.legend(handles=[hatched], loc="outside lower right")


def _panels(points: Points) -> list[tuple[str, str]]:
    return list(dict.fromkeys((point.run, point.panel) for point in points.points))


def _draw_map(axes: Axes, points: Points, run: str, panel: str, norm: Normalize) -> QuadMesh:
    own = [point for point in points.points if (point.run, point.panel) == (run, panel)]
    groups = list(dict.fromkeys(point.group for point in own))
    layers = 1 + max((point.layer for point in own if point.layer is not None), default=-1)
    outside = any(point.layer is None for point in own)
    cells = np.full((len(groups), layers + outside), np.nan)
    row_of = {group: row for row, group in enumerate(groups)}
    hatched = []
    for point in own:
        row, column = row_of[point.group], layers if point.layer is None else point.layer
        cells[row, column] = point.value
        if point.reliable is False:
            hatched.append((row, column))
    many = cells.size > _MOST_CELLS
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(cells),
        norm=norm,
        cmap=CMAP,
        edgecolors=HOLLOW,
        linewidth=0.0 if many else 0.4,
        rasterized=many,
    )
    for row, column in hatched:
        box = Rectangle((column, row), 1, 1, fill=False, edgecolor="#ffffffb0", linewidth=0)
        box.set_hatch(_HATCH)
        axes.add_patch(box)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _label(axes, points, groups, layers, outside)
    return mesh


def _label(axes: Axes, points: Points, groups: list[str], layers: int, outside: bool) -> None:
    every = -(-len(groups) // _MOST_LABELS)
    rows = range(0, len(groups), every)
    axes.set_yticks([row + 0.5 for row in rows], [escaped(groups[row]) for row in rows])
    if points.rows_are.endswith("_index"):
        axes.set_ylabel(points.rows_are.removesuffix("_index"))
    across = _width(axes) / (layers + outside)
    step = next((step for step in (1, 2, 5, 10, 20, 50) if step * across >= _TICK), 100)
    shown = [n for n in range(0, layers, step) if not outside or (layers - n) * across > _WORD]
    places, names = [layer + 0.5 for layer in shown], [str(layer) for layer in shown]
    if outside:
        places.append(layers + 0.5)
        names.append(tr("outside"))
    axes.set_xticks(places, names)


def _width(axes: Axes) -> float:
    """Inches of the cells, about: names and colours stand beside them."""
    return max(0.5, axes.get_figure(root=True).get_figwidth() - 1.6)  # type: ignore[union-attr]
