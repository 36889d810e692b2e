"""A line of numbers as a line of characters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.robust import SAME, spans_decades

__all__ = ["BLOCKS", "PLAIN_BLOCKS", "blocks_for", "sparkline"]

BLOCKS = "▁▂▃▄▅▆▇█"
# For encodings without those; more ink for more.
PLAIN_BLOCKS = "_.:-=+*#"
_GAP = "·"
_PLAIN_GAP = " "


def blocks_for(encoding: str) -> str:
    """The characters of a sparkline that an encoding has, low to high.

    Args:
        encoding: A name that Python knows; others count as ASCII.
    """
    try:
        (BLOCKS + _GAP).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN_BLOCKS
    return BLOCKS


def sparkline(
    values: NDArray[np.float64], blocks: str = BLOCKS, among: NDArray[np.float64] | None = None
) -> str:
    """One character for each value, higher for larger.

    Args:
        values: Any numbers; those that are not finite become gaps.
        blocks: Characters, low to high.
        among: Numbers, these values among them, whose smallest and largest have the lowest and
            the highest character, so that several lines can be compared; None for the values
            alone. Where they span two decades, values are compared by logarithm.
    """
    every = values if among is None else among
    logs = spans_decades(every)
    known = np.where(np.isfinite(values), values, np.nan)
    scaled = np.log10(known) if logs else known
    finite = np.log10(every[np.isfinite(every)]) if logs else every[np.isfinite(every)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    # Halves, since the difference of the largest and the smallest float overflows.
    span = high / 2 - low / 2
    # Values that look alike in four digits are drawn at half height.
    apart = span > SAME / 2 * max(abs(high), abs(low))
    middle = np.where(np.isfinite(scaled), 0.5, np.nan)
    unit = (scaled / 2 - low / 2) / span if apart else middle
    gap = _GAP if blocks == BLOCKS else _PLAIN_GAP
    top = len(blocks) - 1
    return "".join(blocks[round(float(u) * top)] if np.isfinite(u) else gap for u in unit)
