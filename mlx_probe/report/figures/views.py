"""The views of a figure: how its points are drawn, and what they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlx_probe.core.deferred import deferred

__all__ = ["SPECTRUM", "STEPS", "VIEWS", "View"]

_HERE = "mlx_probe.report.figures"
SPECTRUM, STEPS = "spectrum", "steps"


@dataclass(frozen=True)
class View:
    """A way to draw.

    Attributes:
        about: What it shows, for the help and the documentation.
        draw: Takes an empty figure of matplotlib and the content, and draws.
        height: Inches that suit a content in a figure of that width.
        merged: Whether several tensors in one place are drawn as their median.
        inside: Whether only what lies in the layers is drawn.
    """

    about: str
    draw: Callable[..., Any]
    height: Callable[..., float]
    merged: bool = True
    inside: bool = False


# The first is the default. Drawing modules import matplotlib, which an extra brings.
VIEWS: dict[str, View] = {
    "lines": View(
        "a line over the layers for each block type; of several runs a panel for each block type, "
        "over the relative depth",
        deferred(f"{_HERE}.lines", "draw_lines"),
        deferred(f"{_HERE}.lines", "lines_height"),
        inside=True,
    ),
    "map": View(
        "block types by layers, a colour for each value",
        deferred(f"{_HERE}.maps", "draw_maps"),
        deferred(f"{_HERE}.maps", "maps_height"),
    ),
    "distribution": View(
        "a mark for each tensor in a row for each block type, with median and quartiles",
        deferred(f"{_HERE}.distribution", "draw_distribution"),
        deferred(f"{_HERE}.distribution", "distribution_height"),
        merged=False,
    ),
    SPECTRUM: View(
        "singular values of a tensor over their ranks, with the edge of noise and the fitted tail",
        deferred(f"{_HERE}.spectrum", "draw_spectrum"),
        deferred(f"{_HERE}.spectrum", "spectrum_height"),
    ),
    STEPS: View(
        "of training runs: a curve of a metric over the steps, the tokens or the seconds for each "
        "run",
        deferred(f"{_HERE}.steps", "draw_steps"),
        deferred(f"{_HERE}.steps", "steps_height"),
    ),
}
