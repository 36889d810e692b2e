"""Figures of runs as files: SVG, PDF and PNG for papers, CSV for other programs.

`plot` is the entry: it collects the numbers (`points`, `curves`), which are those of the table,
and gives a `Plot`, which draws them (`lines`, `maps`, `distribution`, `spectrum`) when it is
saved or shown. Nothing but the drawing imports matplotlib.
"""

from mlx_probe.report.figures.figure import IMAGES, SUFFIXES, Plot
from mlx_probe.report.figures.plot import WIDTHS, plot, width_of
from mlx_probe.report.figures.style import shows_language
from mlx_probe.report.figures.views import SPECTRUM, VIEWS

__all__ = [
    "IMAGES",
    "SPECTRUM",
    "SUFFIXES",
    "VIEWS",
    "WIDTHS",
    "Plot",
    "plot",
    "shows_language",
    "width_of",
]
