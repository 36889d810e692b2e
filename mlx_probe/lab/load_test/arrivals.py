"""When requests are sent: a renewal process with times between them of a gamma distribution."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["arrival_times"]


def arrival_times(count: int, rate: float, burstiness: float, seed: int) -> list[float]:
    """Seconds after the beginning at which each request is due.

    The times between two have the mean 1 / rate and the shape ``burstiness``: 1 is a Poisson
    process, infinity a metronome. They are scaled so that the last request is due at exactly
    count / rate, because the sum of few draws would change the rate by some percent.

    Args:
        count: Requests.
        rate: Requests a second; infinity for all at once.
        burstiness: Above 0.
        seed: Of the draws.
    """
    if math.isinf(rate):
        return [0.0] * count
    if math.isinf(burstiness):
        gaps = np.full(count, 1 / rate)
    else:
        gaps = np.random.default_rng(seed).gamma(burstiness, 1 / (rate * burstiness), count)
    due = np.cumsum(gaps)
    # Draws of a very small shape are all 0.
    if due[-1] > 0:
        due *= count / rate / due[-1]
    return [float(time) for time in due]
