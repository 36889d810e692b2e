"""How far a column may drift between two checkpoints without anything having happened.

The model is that of DeCAFS (Romano, Rigaill, Runge and Fearnhead 2022, JASA 117, 2147): a level
that walks at random, seen with noise. What it adds here is the clock. A model moves fast at the
beginning of its training and slowly later: neither the number of steps nor its logarithm is right
for all columns, so that an interval may drift by as much as the more generous of both allows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drift", "drift_of"]

# The median of a chi-square variable with one degree of freedom.
_CHI2_MEDIAN = 0.4549364
# Differences over this many checkpoints tell noise from drift; fewer checkpoints do not.
_LAGS, _FEWEST = 3, 12
# Of the variance of the differences of neighbours at least this share is drift: a level that
# never moved for a while may move.
_LEAST_DRIFT = 0.1
# Medians: an interval that is longer than so many of the usual ones still counts as so long. The
# last of steps that grow like powers would otherwise be allowed anything.
_LONGEST = 5.0


@dataclass(frozen=True)
class Drift:
    """Variances of several series, in squared units of their values.

    Attributes:
        walk: Of the drift from the checkpoint before to each, shape (series, steps); the first
            column is 0.
        noise: Of the noise of each value, shape (series,).
    """

    walk: NDArray[np.float64]
    noise: NDArray[np.float64]


def drift_of(
    values: NDArray[np.float64], steps: NDArray[np.float64], least: NDArray[np.float64]
) -> Drift:
    """Estimate the drift of several series of one column.

    Robust: medians of squared differences over one to three checkpoints, to which a walk and noise
    are fitted by non-negative least squares. No series is taken for calmer than the median of all
    of them: twenty checkpoints say little about one series alone.

    Args:
        values: Shape (series, steps); NaN where there is none.
        steps: Ascending.
        least: Standard deviation that an interval of each series has at least, shape (series,).
    """
    count = values.shape[1]
    walk = np.zeros_like(values)
    noise = np.full(len(values), np.inf)
    if count < 2 or not len(values):
        return Drift(walk, np.zeros(len(values)))
    for clock in (_clock(steps), _clock(np.log1p(steps - min(0.0, float(steps[0]))))):
        rate, own = _fit(values, clock)
        known = rate[np.isfinite(rate)]
        floor = float(np.median(known)) if len(known) else 0.0
        rate = np.maximum(np.nan_to_num(rate), floor)
        walk[:, 1:] = np.maximum(walk[:, 1:], rate[:, None] * np.diff(clock)[None, :])
        noise = np.minimum(noise, np.nan_to_num(own))
    walk[:, 1:] = np.maximum(walk[:, 1:], np.square(least)[:, None])
    return Drift(walk, noise)


def _clock(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances of the times, added up: what moves evenly drifts so in an interval."""
    distances = np.diff(times)
    lengths = np.minimum(distances / np.median(distances), _LONGEST)
    return np.concatenate([[0.0], np.cumsum(np.square(lengths))])


def _fit(
    values: NDArray[np.float64], clock: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of the walk for a unit of the clock, and of the noise, for each series."""
    count = values.shape[1]
    lags = range(1, 1 + (_LAGS if count >= _FEWEST else 1))
    squares, lengths = [], []
    for lag in lags:
        passed = clock[lag:] - clock[:-lag]
        differences = np.square(values[:, lag:] - values[:, :-lag])
        # Of neighbours relative to the time between them: no interval is like another.
        scaled = differences * (np.median(passed) / passed)
        squares.append(_median(scaled) / _CHI2_MEDIAN)
        lengths.append(float(np.median(passed)))
    seen, length = np.stack(squares, axis=1), np.asarray(lengths)
    alone = seen[:, 0] / length[0]
    if len(length) == 1:
        return alone, np.zeros(len(values))
    centered = length - length.mean()
    slope = (seen * centered).sum(axis=1) / np.square(centered).sum()
    offset = seen.mean(axis=1) - slope * length.mean()
    through = (seen * length).sum(axis=1) / np.square(length).sum()
    slope = np.where(offset < 0, through, slope)
    noise = np.where(offset < 0, 0.0, offset / 2)
    noise = np.where(slope < 0, seen.mean(axis=1) / 2, noise)
    # Together they explain the difference of neighbours, and no less than that of most series.
    known = alone[np.isfinite(alone)]
    usual = float(np.median(known)) if len(known) else 0.0
    least = np.maximum(alone, usual) - 2.0 * noise / length[0]
    return np.maximum(np.maximum(slope, least), _LEAST_DRIFT * alone), noise


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Medians of the rows, without NaN; NaN for a row of them."""
    result = np.full(len(values), np.nan)
    known = ~np.isnan(values).all(axis=1)
    result[known] = np.nanmedian(values[known], axis=1)
    return result
