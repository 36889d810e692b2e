"""Power-law tails fitted to the eigenvalues of a matrix.

Source: Clauset, Shalizi and Newman 2009, "Power-law distributions in empirical data", SIAM
Review 51(4), 661-703: maximum likelihood for the exponent, the Kolmogorov-Smirnov distance for
the point from which the law holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PowerLaw", "distinct_values", "fit_power_law", "likely_peaks"]

# Entries of the model that are computed together: two arrays of this size stay in the cache.
_BLOCK = 1 << 15

# Up to so many values all distances are computed at once.
_SHORT = 64

# The first pass looks at one of this many values, the second begins with so many candidates.
_STRIDE, _FIRST = 32, 16

# So many values are looked at for the place of a candidate's distance.
_PEAKS = 32


@dataclass(frozen=True)
class PowerLaw:
    """A density proportional to x**-alpha from xmin on.

    Attributes:
        alpha: Exponent, above 1.
        xmin: Beginning of the law: one of the values.
        tail_count: Values from there on, itself included.
        distance: Kolmogorov-Smirnov distance between law and values.
    """

    alpha: float
    xmin: float
    tail_count: int
    distance: float

    @property
    def stderr(self) -> float:
        """Standard error of alpha for a given xmin: (alpha - 1) / sqrt(n)."""
        return (self.alpha - 1) / math.sqrt(self.tail_count)


def fit_power_law(values: NDArray[np.float64]) -> PowerLaw | None:
    """The power law that fits the largest values best.

    Every value is tried as xmin. The exponent for each is the maximum likelihood estimate
    ``1 + n / sum ln(x / xmin)``. The xmin with the least distance is chosen, the smallest if
    there are several. The distance is that of Clauset's code and of the powerlaw package: the
    greatest difference, of either sign, between the model's distribution function and the share
    of the tail below each value.

    The result is that of powerlaw 1.5. Version 2.0 computes the same distances, but rejects every
    xmin whose exponent is not between 1 and 3, unless ``parameter_ranges`` says otherwise, and
    does not try the second largest value. Maximum likelihood knows no such limit: a planted
    exponent of 4.5 would come out as 3.0 from a worse xmin.

    Args:
        values: Positive, ascending, shape (n,).

    Returns:
        None if there are not two different values.
    """
    distinct, counts = distinct_values(values)
    fit = _best(np.log(distinct), counts.astype(np.float64))
    if fit is None:
        return None
    first, alpha, distance = fit
    return PowerLaw(alpha, float(distinct[first]), int(counts[first:].sum()), distance)


def distinct_values(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The different ones among ascending values, and how often each occurs."""
    if np.all(values[1:] > values[:-1]):
        return values, np.ones(len(values), np.int64)
    return np.unique(values, return_counts=True)


def _best(
    logs: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[int, float, float] | None:
    """Index of the best xmin, exponent and distance.

    Args:
        logs: Ascending, shape (n,).
        counts: How often each occurs, shape (n,).
    """
    if len(logs) < 2 or logs[0] == logs[-1]:
        # Different values may have equal logarithms.
        return None
    # Only differences count: taken from the largest, the sums do not cancel.
    logs = logs - logs[-1]
    above = np.cumsum(counts[::-1])[::-1]
    excess = np.cumsum((counts * logs)[::-1])[::-1] - above * logs
    # The largest value, and its equals, have no tail to fit.
    candidates = int(np.searchsorted(logs, 0.0))
    rates = above[:candidates] / excess[:candidates]
    first, distance = _nearest(logs, above, rates)
    return first, 1.0 + float(rates[first]), distance


def likely_peaks(logs: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """For each value as xmin, where law and values differ most: of some of the values.

    Args:
        logs: Descending, shape (n,).
        counts: How often each occurs, shape (n,).

    Returns:
        Indices of values that are not smaller than the candidate, shape (n,).
    """
    above = np.cumsum(counts, dtype=np.float64)
    excess = np.append(0.0, np.cumsum(above[:-1] * (logs[:-1] - logs[1:])))
    rates = np.divide(above, excess, out=np.zeros(len(logs)), where=excess > 0)
    some = np.arange(0, len(logs), max(len(logs) // _PEAKS, 1))
    gap = np.subtract.outer(logs, logs[some])
    gap *= rates[:, None]
    # Below a candidate, law and values are one.
    np.exp(np.minimum(gap, 0.0, out=gap), out=gap)
    gap -= np.minimum(np.multiply.outer(1.0 / above, above[some]), 1.0)
    return np.asarray(some.take(np.abs(gap, out=gap).argmax(axis=1)))


def _nearest(
    logs: NDArray[np.float64], above: NDArray[np.float64], rates: NDArray[np.float64]
) -> tuple[int, float]:
    """The first of the candidates with the least distance, and that distance.

    A distance is a maximum over the tail, so that the maximum over a part of it is a lower
    bound: candidates whose bound exceeds the least distance so far are skipped.

    Args:
        logs: Ascending, shape (n,).
        above: Number of values from each on, shape (n,).
        rates: Exponent less one for each of the first values as xmin, shape (candidates,).
    """
    candidates = np.arange(len(rates))
    if len(logs) <= _SHORT:
        distances = _distances(logs, above, rates, candidates, np.arange(len(logs)))
        nearest = int(np.argmin(distances))
        return nearest, float(distances[nearest])
    some = np.arange(0, len(logs), _STRIDE)
    bounds = np.empty(len(rates))
    height = max(_BLOCK // len(some), 1)
    for start in range(0, len(rates), height):
        rows = candidates[start : start + height]
        bounds[rows] = _distances(logs, above, rates, rows, some)
    order = np.argsort(bounds, kind="stable")
    best, nearest, done = math.inf, 0, 0
    most = max(_BLOCK // len(logs), 1)
    height = min(_FIRST, most)
    while done < len(order):
        rows = order[done : done + height]
        rows = rows[bounds[rows] <= best]
        if not len(rows):
            break
        distances = _distances(logs, above, rates, rows, np.arange(rows.min(), len(logs)))
        least = float(distances.min())
        first = int(rows[distances == least].min())
        if (least, first) < (best, nearest):
            best, nearest = least, first
        done += height
        height = most
    return nearest, best


def _distances(
    logs: NDArray[np.float64],
    above: NDArray[np.float64],
    rates: NDArray[np.float64],
    candidates: NDArray[np.intp],
    values: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Greatest difference between law and values, at some of the values.

    Args:
        logs: Ascending, shape (n,).
        above: Number of values from each on, shape (n,).
        rates: Exponent less one of each candidate.
        candidates: Indices of xmin, shape (k,).
        values: Indices of values, ascending; those below a candidate are not in its tail.

    Returns:
        Shape (k,); 0 where no value is in the tail.
    """
    values = values[np.searchsorted(values, candidates.min()) :]
    if not len(values):
        return np.zeros(len(candidates))
    # Survival functions, in place: that of the law, minus that of the values. Both are one below
    # the candidate, where nothing is compared.
    gap = np.subtract.outer(logs[candidates], logs[values])
    gap *= rates[candidates, None]
    np.exp(np.minimum(gap, 0.0, out=gap), out=gap)
    share = np.multiply.outer(1.0 / above[candidates], above[values])
    gap -= np.minimum(share, 1.0, out=share)
    return np.asarray(np.abs(gap, out=gap).max(axis=1))
