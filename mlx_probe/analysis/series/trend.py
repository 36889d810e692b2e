"""Whether a series rises or falls over all checkpoints, robustly.

The slope is the median of the slopes of all pairs (Theil 1950, Sen 1968). The test is that of Mann
and Kendall, with the variance for ties and for a series whose neighbours are alike (Hamed and Rao
1998, Journal of Hydrology 204, 182): checkpoints of one training never are independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Trend", "adjusted", "trend_of"]

# Points of one series: pairs grow with the square, and a trend shows in fewer.
_MOST = 200
# Fewer points have too few orders for a test.
_FEWEST = 5
# A normal variable is this far out with a chance of 5 %.
_SIGNIFICANT = 1.959964


@dataclass(frozen=True)
class Trend:
    """The trend of one series.

    Attributes:
        slope: For one step, on the scale of the values.
        tau: Kendall's rank correlation with the step.
        p: Chance of such a rank correlation, or a larger one, without a trend.
    """

    slope: float
    tau: float
    p: float


def trend_of(values: NDArray[np.float64], steps: NDArray[np.float64]) -> Trend | None:
    """The trend of a series; None for one of fewer than five values.

    Args:
        values: Shape (steps,); NaN where there is none.
        steps: Ascending.
    """
    known = np.isfinite(values)
    y, x = values[known], steps[known]
    if len(y) < _FEWEST:
        return None
    if len(y) > _MOST:
        kept = np.unique(np.rint(np.linspace(0, len(y) - 1, _MOST)).astype(np.int64))
        y, x = y[kept], x[kept]
    first, second = np.triu_indices(len(y), 1)
    higher = y[second] - y[first]
    slope = float(np.median(higher / (x[second] - x[first])))
    score = float(np.sign(higher).sum())
    pairs = len(higher)
    variance = _variance(y) * _inflation(y - slope * x)
    if variance <= 0:
        return Trend(slope, 0.0, 1.0)
    away = max(0.0, abs(score) - 1.0) / math.sqrt(variance)
    return Trend(slope, score / pairs, math.erfc(away / math.sqrt(2.0)))


def _variance(y: NDArray[np.float64]) -> float:
    """Of the score of independent values, with ties."""
    count = len(y)
    _, ties = np.unique(y, return_counts=True)
    tied = float((ties * (ties - 1) * (2 * ties + 5)).sum())
    return (count * (count - 1) * (2 * count + 5) - tied) / 18.0


def _inflation(rest: NDArray[np.float64]) -> float:
    """By how much the variance grows because neighbours are alike: of what the trend leaves."""
    count = len(rest)
    order = np.argsort(np.argsort(rest, kind="stable"), kind="stable").astype(np.float64)
    order -= order.mean()
    power = float((order * order).sum())
    if power <= 0:
        return 1.0
    # By lag; the longest ones have too few pairs for a correlation.
    alike = np.correlate(order, order, "full")[count : 2 * count - 3] / power
    left = count - np.arange(1, count - 2)
    weights = left * (left - 1) * (left - 2)
    significant = np.abs(alike) > _SIGNIFICANT / math.sqrt(count)
    added = float((weights * alike)[significant].sum())
    return max(1.0, 1.0 + 2.0 * added / (count * (count - 1) * (count - 2)))


def adjusted(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chances of many tests, for the share of false ones among those that are called true.

    Benjamini and Hochberg 1995, JRSS B 57, 289.

    Args:
        chances: Shape (tests,).
    """
    order = np.argsort(chances, kind="stable")
    ranked = chances[order] * len(chances) / np.arange(1, len(chances) + 1)
    result = np.empty_like(chances)
    result[order] = np.minimum.accumulate(ranked[::-1])[::-1].clip(max=1.0)
    return result
