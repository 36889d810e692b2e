"""The search for xmin in many resamples of the same values at once, exact in each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draws", "exponents"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

# So few candidates for each resample are computed at once.
_FEW = 4

# Where in each tail law and values are compared first.
_PROBES = (0.2, 0.5, 0.8)

# About how far a distance exceeds one gap, times the root of the tail's length.
_EXCESS = 0.7


@dataclass(frozen=True)
class Draws:
    """What some resamples have of n descending values; all of shape (resamples, n).

    Attributes:
        above: Number of drawn values down to each.
        share: One over it; NaN where the value was not drawn, and cannot be xmin.
        excess: About how far the distance of a law exceeds one of its gaps.
        following: Index of the next larger value that was drawn, itself included; -1 if none.
    """

    above: Floats
    share: Floats
    excess: Floats
    following: Indices

    @staticmethod
    def of(counts: NDArray[np.int64]) -> Draws:
        """From how often each value was drawn."""
        drawn = counts > 0
        above = np.cumsum(counts, axis=1).astype(np.float64)
        share = np.where(drawn, 1.0 / np.maximum(above, 1.0), np.nan)
        following = np.where(drawn, np.arange(counts.shape[1]), -1)
        following = np.maximum.accumulate(following, axis=1)
        return Draws(above, share, _EXCESS * np.sqrt(share), following)


@dataclass(frozen=True)
class _Candidates:
    """Values of resamples that may be xmin, by resample and then ascending; all of shape (k,).

    Attributes:
        resample: Its number.
        index: Index of the value.
        start: Logarithm of the value.
        rate: Exponent less one, if the law begins there.
        share: One over the number of values in the tail.
        bound: A distance that the law has at least from the values.
    """

    resample: Indices
    index: Indices
    start: Floats
    rate: Floats
    share: Floats
    bound: Floats

    def only(self, kept: Indices) -> _Candidates:
        """Some of them."""
        return _Candidates(
            self.resample.take(kept),
            self.index.take(kept),
            self.start.take(kept),
            self.rate.take(kept),
            self.share.take(kept),
            self.bound.take(kept),
        )


class _Tails:
    """The values of some resamples, and the law from each of them on.

    A value that was not drawn stands for the next larger one that was: it compares nothing new.
    Beyond the largest, values are infinite, and law and values agree that there is nothing.

    Args:
        logs: Logarithms of the values, descending, shape (n,).
        draws: What the resamples have of them.
    """

    def __init__(self, logs: Floats, draws: Draws) -> None:
        self.logs, self.draws = logs, draws
        self.resamples, self.size = draws.above.shape
        # The sum of ln(x / xmin) over a tail, from steps between neighbours: nothing cancels.
        excess = np.zeros(draws.above.shape)
        np.cumsum(draws.above[:, :-1] * (logs[:-1] - logs[1:]), axis=1, out=excess[:, 1:])
        self.rates = draws.above / excess
        # How much further the next drawn value lies.
        self.further = np.append(logs, np.inf).take(draws.following)
        self.further -= logs

    def candidates(self, resample: Indices, index: Indices, bounds: Floats) -> _Candidates:
        """Candidates by their places; those that are none are left out.

        Args:
            resample: Numbers of resamples, ascending.
            index: Indices of values.
            bounds: Lower bounds of their distances.
        """
        here = resample * self.size + index
        rates = self.rates.take(here)
        # The largest value, and its equals, have no tail to fit.
        fit = np.isfinite(rates).nonzero()[0]
        shares = self.draws.share.take(here)
        some = _Candidates(resample, index, self.logs.take(index), rates, shares, bounds)
        return some if len(fit) == len(index) else some.only(fit)

    def gaps(self, at: Indices) -> Floats:
        """Difference between law and values at one value for each candidate.

        Args:
            at: For each value as xmin, the index of the value to compare at, not below it.

        Returns:
            Shape (resamples, n).
        """
        gap = self.further.take(at, axis=1)
        gap += self.logs[at] - self.logs
        gap *= self.rates
        np.exp(np.negative(gap, out=gap), out=gap)
        share = self.draws.above.take(at, axis=1)
        share *= self.draws.share
        gap -= share
        return np.asarray(np.abs(gap, out=gap))

    def hopeful(self, gaps: Floats) -> _Candidates:
        """For each resample, the candidate whose distance may be the least by one gap of each."""
        hope = gaps + self.draws.excess
        least = np.fmin.reduce(hope, axis=1)
        index = (hope == least[:, None]).argmax(axis=1)
        return self.candidates(np.arange(self.resamples), index, np.zeros(self.resamples))

    def promising(self, gaps: Floats, best: Floats) -> _Candidates:
        """The candidates whose gap is not larger than the best distance of the resample."""
        # In ascending order of values.
        here = (gaps <= best[:, None])[:, ::-1].ravel().nonzero()[0]
        resample, index = np.divmod(here, self.size)
        index = self.size - 1 - index
        return self.candidates(resample, index, gaps.take(resample * self.size + index))

    def compare(self, some: _Candidates, at: Indices) -> None:
        """Raise the bounds of candidates by their gaps at other values.

        Args:
            some: Shape (k,).
            at: Indices of values, shape (values, k); those below a candidate compare nothing.
        """
        at = np.minimum(at, some.index)
        here = at + some.resample * self.size
        gap = self.logs.take(at)
        gap -= some.start
        gap += self.further.take(here)
        gap *= some.rate
        np.exp(np.negative(gap, out=gap), out=gap)
        share = self.draws.above.take(here)
        share *= some.share
        gap -= share
        np.maximum(some.bound, np.abs(gap, out=gap).max(axis=0), out=some.bound)

    def distances(self, some: _Candidates) -> tuple[Floats, Indices]:
        """The distances of candidates, and the values where they are."""
        longest = int(some.index.max()) + 1
        gap = self.further[some.resample, :longest]
        gap += self.logs[:longest] - some.start[:, None]
        gap *= -some.rate[:, None]
        # Below a candidate, law and values are one.
        np.exp(np.minimum(gap, 0.0, out=gap), out=gap)
        share = self.draws.above[some.resample, :longest]
        share *= some.share[:, None]
        gap -= np.minimum(share, 1.0, out=share)
        np.abs(gap, out=gap)
        places = gap.argmax(axis=1)
        return gap[np.arange(len(places)), places], places


def exponents(logs: Floats, draws: Draws, peaks: Indices) -> Floats:
    """The exponent that `fit_power_law` would give of each resample.

    The distance of a candidate is the largest of its gaps: the gap at any value is a lower bound,
    and a candidate whose bound exceeds the least distance so far is dropped. All are compared at
    the value where the gap was largest before resampling; the candidate that is likely to be best
    by that is computed, and most others are dropped. Then, in turn, the most promising candidate
    of each resample is computed, and where its gap is largest all others are compared: those of
    neighbours are large at the same value.

    Args:
        logs: Logarithms of the values, descending, shape (n,).
        draws: What the resamples have of them.
        peaks: For each value as xmin, where the gap may be large.

    Returns:
        Shape (resamples,); NaN where there are not two different values.
    """
    # An infinite or undefined rate is left out.
    with np.errstate(divide="ignore", invalid="ignore"):
        return _search(_Tails(logs, draws), peaks)


def _search(tails: _Tails, peaks: Indices) -> Floats:
    resamples = tails.resamples
    best, chosen = np.full(resamples, np.inf), np.zeros(resamples, np.intp)
    alphas = np.full(resamples, np.nan)

    def compute(tried: _Candidates) -> Indices:
        """Choose among candidates; where the gap of the nearest of each resample is largest."""
        distances, places = tails.distances(tried)
        nearest = _least_of_each(tried.resample, distances)
        if len(nearest) < len(distances):
            tried, distances, places = tried.only(nearest), distances[nearest], places[nearest]
        of = tried.resample
        at = np.zeros(resamples, np.intp)
        at[of] = places
        # The smallest xmin, if several have the least distance.
        old = best[of]
        better = (distances < old) | ((distances == old) & (tried.index > chosen[of]))
        won = of[better]
        best[won], chosen[won] = distances[better], tried.index[better]
        alphas[won] = 1.0 + tried.rate[better]
        return at

    def promising(some: _Candidates) -> _Candidates:
        return some.only((some.bound <= best.take(some.resample)).nonzero()[0])

    gaps = tails.gaps(peaks)
    first = tails.hopeful(gaps)
    if len(first.index):
        compute(first)
    left = tails.promising(gaps, best)
    reach = left.index * np.array(_PROBES)[:, None]
    tails.compare(left, reach.astype(np.intp))
    left = promising(left)
    while len(left.index) > _FEW * resamples:
        picked = _least_of_each(left.resample, left.bound)
        at = compute(left.only(picked))
        left.bound[picked] = np.inf
        tails.compare(left, at.take(left.resample)[None])
        left = promising(left)
    if len(left.index):
        compute(left)
    return alphas


def _least_of_each(groups: Indices, values: Floats) -> Indices:
    """Index of the least value of each group, the first of equal ones.

    Args:
        groups: Ascending, shape (k,).
        values: Shape (k,).
    """
    if not len(groups):
        return np.empty(0, np.intp)
    begins = _begins(groups)
    least = np.minimum.reduceat(values, begins.nonzero()[0])
    equal: Indices = (values == least.take(begins.cumsum() - 1)).nonzero()[0]
    return equal if len(equal) == len(least) else equal[_begins(groups[equal])]


def _begins(groups: Indices) -> NDArray[np.bool_]:
    """Where each group of equal numbers begins."""
    begins = np.ones(len(groups), np.bool_)
    np.not_equal(groups[1:], groups[:-1], out=begins[1:])
    return begins
