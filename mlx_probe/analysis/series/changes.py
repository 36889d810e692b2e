"""Change points of series by optimal partitioning.

The cheapest way to cut a series into segments, each at a price: an exact dynamic programme (Jackson
et al. 2005, IEEE Signal Processing Letters 12, 105; Killick, Fearnhead and Eckley 2012, JASA 107,
1590, whose PELT finds the same minimum). A segment costs what its values are away from a level that
walks within the drift of `drift_of`, in squared standard deviations, by a Kalman filter that knows
nothing before the segment's first value: between segments the level jumps for the price alone, as
in DeCAFS (Romano et al. 2022).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.series.drift import Drift

__all__ = ["change_points", "penalty"]

# Numbers in an array of the programme: series are taken in groups of this size over the steps.
_ROOM = 1_000_000


def penalty(intervals: int, share: float) -> float:
    """The price of a change, in squared standard deviations.

    A drift that is normal exceeds z standard deviations in an interval with a chance below
    exp(-z^2 / 2). With z^2 = 2 ln(intervals / share) no more than ``share`` of all searches find a
    change in one of so many intervals where there is none (Bonferroni).

    Args:
        intervals: Intervals of all series and columns of the search.
        share: Chance of one false change in the whole search.
    """
    return 2.0 * math.log(max(1, intervals) / share)


def change_points(
    values: NDArray[np.float64], drift: Drift, price: float
) -> list[list[tuple[int, float]]]:
    """The change points of several series.

    Args:
        values: Shape (series, steps); NaN where there is none.
        drift: Of these series.
        price: See `penalty`.

    Returns:
        For each series its changes: the first place after it, ascending, and by how many standard
        deviations of the drift the series is cheaper with it.
    """
    found: list[list[tuple[int, float]]] = []
    group = max(1, _ROOM // max(1, values.shape[1]))
    for first in range(0, len(values), group):
        part = slice(first, first + group)
        found += _partitioned(values[part], drift.walk[part], drift.noise[part], price)
    return found


class _Filter:
    """Kalman filters that each know nothing before their first value."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.level = np.zeros(shape)
        self.variance = np.full(shape, np.inf)
        self.cost = np.zeros(shape)

    def add(
        self,
        value: NDArray[np.float64],
        walk: NDArray[np.float64],
        noise: NDArray[np.float64],
    ) -> None:
        """Go on by one checkpoint; a value that is NaN only makes the level less known."""
        begun, known = np.isfinite(self.variance), ~np.isnan(value)
        ahead = self.variance + walk
        total = np.where(begun, ahead + noise, 1.0)
        away = np.where(known & begun, value - self.level, 0.0)
        self.cost = self.cost + away * away / total
        gain = np.where(begun, np.where(begun, ahead, 0.0) / total, 1.0)
        level = np.where(begun, self.level + gain * away, np.where(known, value, 0.0))
        left = np.where(begun, (1.0 - gain) * np.where(begun, ahead, 0.0), noise)
        self.level = np.where(known, level, self.level)
        self.variance = np.where(known, left, ahead)


def _partitioned(
    values: NDArray[np.float64],
    walk: NDArray[np.float64],
    noise: NDArray[np.float64],
    price: float,
) -> list[list[tuple[int, float]]]:
    series, count = values.shape
    best = np.full((series, count + 1), np.inf)
    best[:, 0] = -price
    before = np.zeros((series, count + 1), np.int64)
    # One filter for each place at which the last segment may have begun.
    filters = _Filter((series, count))
    for at in range(count):
        active = slice(0, at + 1)
        part = _Filter((0,))
        part.level, part.variance = filters.level[:, active], filters.variance[:, active]
        part.cost = filters.cost[:, active]
        part.add(values[:, at, None], walk[:, at, None], noise[:, None])
        filters.level[:, active], filters.variance[:, active] = part.level, part.variance
        filters.cost[:, active] = part.cost
        total = best[:, active] + part.cost + price
        # A segment begins with a value: what is missing belongs to the segment before.
        total[:, 1:] = np.where(np.isnan(values[:, 1 : at + 1]), np.inf, total[:, 1:])
        chosen = np.argmin(total, axis=1)
        best[:, at + 1] = total[np.arange(series), chosen]
        before[:, at + 1] = chosen
    cuts = [_cuts(before[row]) for row in range(series)]
    return [
        [
            (cut, _gain(values[row], walk[row], noise[row], (first, cut, last)))
            for first, cut, last in zip([0, *of], of, [*of[1:], count], strict=False)
        ]
        for row, of in enumerate(cuts)
    ]


def _cuts(before: NDArray[np.int64]) -> list[int]:
    found, at = [], len(before) - 1
    while at > 0:
        at = int(before[at])
        if at > 0:
            found.append(at)
    return found[::-1]


def _gain(
    values: NDArray[np.float64],
    walk: NDArray[np.float64],
    noise: np.float64,
    around: tuple[int, int, int],
) -> float:
    """The root of what the two segments at a cut cost less than both as one."""
    first, cut, last = around

    def cost(begin: int, end: int) -> float:
        one = _Filter(())
        for at in range(begin, end):
            one.add(values[at], walk[at], np.asarray(noise))
        return float(one.cost)

    return math.sqrt(max(0.0, cost(first, last) - cost(first, cut) - cost(cut, last)))
