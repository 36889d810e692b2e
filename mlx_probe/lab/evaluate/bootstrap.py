"""How far a ratio of sums would move with other documents: bootstrap intervals.

Efron 1979, "Bootstrap methods: another look at the jackknife": units are drawn with replacement,
as many as there are, and the interval holds the middle of the ratios of all draws (percentile
method).

What is drawn must be exchangeable. Documents are; tokens are not, and windows are only where no
document is longer than a window: two halves of a hard document are both hard. Windows therefore
stand in for documents only where there are few of these, and their interval is too narrow then.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "RESAMPLES", "ratio_intervals"]

LEVEL = 0.95
RESAMPLES = 1000

# Draws in memory at a time.
_CHUNK = 1 << 22

Numbers = NDArray[np.float64]


def ratio_intervals(
    ratios: Mapping[str, tuple[Numbers, Numbers]],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, tuple[float, float]]:
    """Intervals of several ratios of sums, from the same draws.

    Args:
        ratios: By name, numerators and denominators of each unit, (units,) each.
        seed: Of the draws.
        resamples: How many.
        level: Share of the draws inside.

    Returns:
        Lower and upper end by name; NaN where a denominator sums to zero.
    """
    units = len(next(iter(ratios.values()))[0])
    random = np.random.Generator(np.random.PCG64(seed))
    drawn: dict[str, list[Numbers]] = {name: [] for name in ratios}
    done = 0
    while done < resamples:
        rows = min(resamples - done, max(_CHUNK // units, 1))
        chosen = random.integers(units, size=(rows, units))
        for name, (above, below) in ratios.items():
            with np.errstate(invalid="ignore", divide="ignore"):
                drawn[name].append(above[chosen].sum(1) / below[chosen].sum(1))
        done += rows
    ends = [(1 - level) / 2, (1 + level) / 2]
    found = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        finite = np.isfinite(values).all()
        low, high = np.quantile(values, ends) if finite else (np.nan, np.nan)
        found[name] = (float(low), float(high))
    return found
