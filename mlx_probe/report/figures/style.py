"""How figures look: the page's colours, print sizes, fonts, and bytes that stay the same."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import LANGUAGES, language

__all__ = [
    "CMAP",
    "COLORS",
    "HOLLOW",
    "INK",
    "MUTED",
    "NOISE",
    "TAIL",
    "escaped",
    "language_of_labels",
    "line_style",
    "shortened",
    "shows_language",
    "styled",
]

# Okabe and Ito's colours, which colour-blind readers can distinguish, as in the page.
COLORS = ("#3b82d8", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b8a800", "#8a7cc9")
# More lines than colours differ in these, too.
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
_MARKERS = ("o", "s", "^", "D", "v")
TAIL, NOISE, INK, MUTED = "#e69f00", "#d55e00", "#1b2330", "#566274"
CMAP = "viridis"
HOLLOW = "white"
# In the order in which they are preferred; the last have Japanese forms of some characters.
_CHINESE = (
    *("PingFang SC", "Hiragino Sans GB", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC"),
    *("Source Han Sans CN", "Microsoft YaHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("Heiti SC", "STHeiti", "SimHei", "Arial Unicode MS", "Noto Sans CJK JP"),
)
_LATIN = "DejaVu Sans"  # comes with matplotlib: the same everywhere

_STYLE: dict[str, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "figure.titlesize": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dde3ea",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    # SVG: letters as outlines, which look the same on every machine. PDF: TrueType fonts,
    # embedded, so that text can be searched; many journals refuse the other kind, Type 3.
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    # Names of clip paths are random without it.
    "svg.hashsalt": "mlx-probe",
}


@contextmanager
def styled() -> Iterator[Any]:
    """Draw and write figures in the package's style, whatever the user's own settings are.

    Yields:
        The module matplotlib.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError as error:
        raise ConfigError(
            "figures need the package matplotlib, which is not installed",
            "Install it with pip install 'mlx-probe[plot]'; the numbers alone, as --json or in a "
            "file that ends in .csv, need nothing",
        ) from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        font = _chinese_font() if language() == "zh" else None
        # The Latin font first: numbers look alike in both languages.
        matplotlib.rcParams.update({**_STYLE, "font.family": [_LATIN, *([font] if font else [])]})
        yield matplotlib


def language_of_labels() -> str:
    """The reader's language if this machine has a font for it; otherwise English.

    matplotlib has to be installed.
    """
    wanted = language()
    return LANGUAGES[0] if wanted == "zh" and _chinese_font() is None else wanted


def shows_language() -> bool:
    """Whether labels are in the reader's language: there is a font for it."""
    return language_of_labels() == language()


@cache
def _chinese_font() -> str | None:
    """A font on this machine that has Chinese characters; None without one."""
    manager = importlib.import_module("matplotlib.font_manager").fontManager
    names = {entry.name for entry in manager.ttflist}
    return next((name for name in _CHINESE if name in names), None)


def escaped(text: str) -> str:
    """A name as text: matplotlib sets what stands between dollars as a formula."""
    return text.replace("$", r"\$")


def shortened(text: str, longest: int) -> str:
    """A long name, its middle left out."""
    if len(text) <= longest:
        return text
    kept = longest - 1
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"


def line_style(index: int) -> dict[str, Any]:
    """Colour, dash and marker of the line of that number."""
    again = index // len(COLORS)
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": _DASHES[again % len(_DASHES)],
        "marker": _MARKERS[again % len(_MARKERS)],
    }
