"""The interval of a power law's exponent, by resampling.

A resample draws as many values as there are, with replacement, and has an xmin of its own: the
uncertainty of xmin is part of the interval. Many resamples are searched together, each exactly as
`fit_power_law` searches, because numpy's calls would take longer than their work on a single one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlx_probe.metrics.power_law import distinct_values, likely_peaks
from mlx_probe.metrics.resample_search import Draws, exponents

__all__ = ["RESAMPLES", "Bootstrap", "Interval"]

Floats = NDArray[np.float64]

# The ends of a 90 % interval are the fifth of 99 resampled exponents from either side: of so many
# and one more, 5 % lie beyond each. Source: Davison and Hinkley 1997, "Bootstrap Methods and their
# Application", section 2.4.
RESAMPLES = 99
_FROM_END = 5

# Resamples that are searched together, unless they have more values than this: numpy's calls have
# enough work, all arrays stay in the cache, and a verdict often needs no second search.
_TOGETHER, _VALUES = 33, 1 << 15

# Draws from up to so many values are kept for the next matrix: at most 3.3 MB for each order.
_CACHED = 1 << 10


@dataclass(frozen=True)
class Interval:
    """A 90 % confidence interval.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


class Bootstrap:
    """Percentile interval of alpha over resampled values, each with its own best xmin.

    Resamples are drawn as they are needed. How often the interval contains the exponent of a known
    law is in docs/en/metrics.md (benchmarks/coverage.py).

    Args:
        values: Positive, ascending, shape (n,), n at least 1.
        seed: Seed of the resampling.
    """

    def __init__(self, values: Floats, seed: int) -> None:
        distinct, counts = distinct_values(values)
        self._batches = _batches(np.log(distinct)[::-1].copy(), counts[::-1], seed)
        self._alphas: list[float] = []

    def exponents(self) -> Floats:
        """Alpha of each resample; NaN for one that does not have two different values."""
        while self._draw():
            pass
        return np.array(self._alphas)

    def interval(self) -> Interval | None:
        """The interval; None if a resample does not have two different values."""
        some = sorted(self.exponents().tolist())
        if np.isnan(some).any():
            return None
        return Interval(some[_FROM_END - 1], some[-_FROM_END])

    def is_within(self, width: float) -> bool:
        """Whether there is an interval, and it is at most so wide.

        The answer is that of `interval`, with fewer resamples where it is no: the ends move apart
        with every resample, never towards each other.
        """
        while self._draw():
            some = sorted(self._alphas)
            if np.isnan(some).any():
                return False
            if len(some) >= _FROM_END and some[-_FROM_END] - some[_FROM_END - 1] > width:
                return False
        interval = self.interval()
        return interval is not None and interval.high - interval.low <= width

    def _draw(self) -> bool:
        batch = next(self._batches, None)
        if batch is None:
            return False
        self._alphas += batch.tolist()
        return True


def _batches(logs: Floats, occurrences: NDArray[np.int64], seed: int) -> Iterator[Floats]:
    """Exponents of all resamples, some at a time; NaN for one without two different values.

    Args:
        logs: Logarithms of the values, descending, shape (n,).
        occurrences: How often each occurs, shape (n,).
        seed: Seed of the resampling.
    """
    peaks = likely_peaks(logs, occurrences)
    for draws in _draws(occurrences, seed):
        yield exponents(logs, draws, peaks)


def _draws(occurrences: NDArray[np.int64], seed: int) -> Iterable[Draws]:
    """All resamples, some at a time."""
    n = int(occurrences.sum())
    if n > len(occurrences):
        begins = np.cumsum(occurrences) - occurrences
        return (Draws.of(np.add.reduceat(some, begins, axis=1)) for some in _counts(n, seed))
    return _kept(n, seed) if n <= _CACHED else map(Draws.of, _counts(n, seed))


def _counts(n: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each resample has each of n values, of shape (resamples, n)."""
    rng, together = np.random.default_rng(seed), max(min(_TOGETHER, _VALUES // n), 1)
    for first in range(0, RESAMPLES, together):
        size = min(together, RESAMPLES - first)
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)


@lru_cache(maxsize=4)
def _kept(n: int, seed: int) -> tuple[Draws, ...]:
    """The draws from n different values: the same for all matrices of an order."""
    return tuple(map(Draws.of, _counts(n, seed)))
