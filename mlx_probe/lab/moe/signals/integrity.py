r"""Predictive Integrity: one number of error, uncertainty and gradient norm.

    PI   = exp(-alpha ((1 - gamma) epsilon / tau + gamma S))
    PI_z = exp(-alpha (z(epsilon / tau) + gamma z(S)))
    integral over a run = mean(PI) exp(-delta Var(PI))

Heuristics of one research group. PI saturates: with the S of a real model it is all but 0. And
epsilon / tau rewards a model that is unsure of everything. The components stand beside both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["WARM_UP", "RunningScore", "integral", "integrity", "integrity_z"]

# Windows that a running mean needs before anything is compared with it.
WARM_UP = 8


def integrity(ratio: float, surprise: float, alpha: float = 1.0, gamma: float = 0.5) -> float:
    """PI of one window.

    Args:
        ratio: epsilon / tau.
        surprise: S, the norm of the gradient by all parameters.
        alpha: How fast it falls.
        gamma: The share of S.

    Returns:
        0 to 1.
    """
    return math.exp(-alpha * ((1 - gamma) * ratio + gamma * surprise))


def integrity_z(
    ratio: float | None, surprise: float | None, alpha: float = 1.0, gamma: float = 0.5
) -> float | None:
    """PI_z of one window.

    Args:
        ratio: z(epsilon / tau), from a `RunningScore`.
        surprise: z(S), from another.
        alpha: How fast it falls.
        gamma: The weight of z(S).

    Returns:
        Above 0, 1 where both are as usual; None where one of them is None.
    """
    if ratio is None or surprise is None:
        return None
    # exp(710) is more than a float holds.
    return math.exp(min(-alpha * (ratio + gamma * surprise), 709.0))


def integral(values: Sequence[float], delta: float = 1.0) -> float:
    """Mean(PI) exp(-delta Var(PI)) over the windows of a run.

    Args:
        values: PI of each window; at least one.
        delta: What unsteadiness costs.
    """
    array = np.asarray(values, np.float64)
    return float(array.mean() * math.exp(-delta * array.var()))


class RunningScore:
    """How unusual a number is among those before it.

    Mean and variance are of the numbers before, each with the weight decay**age (age 0 for the
    latest), and the weights add up to 1: no start value pulls at them. The variance is that of
    these weights around that mean, without a correction for few numbers.

    Args:
        decay: Weight of a number against the one after it.
    """

    def __init__(self, decay: float = 0.99) -> None:
        self._decay = decay
        self._count, self._weight, self._mean, self._squares = 0, 0.0, 0.0, 0.0

    def __call__(self, value: float) -> float | None:
        """The z of a number, which then counts for those after it.

        Returns:
            (value - mean) / deviation; None within the first `WARM_UP` numbers, and where all
            before are equal.
        """
        deviation = math.sqrt(self._squares / self._weight) if self._weight else 0.0
        is_known = self._count >= WARM_UP and deviation > 0
        score = (value - self._mean) / deviation if is_known else None
        self._count += 1
        self._weight = self._decay * self._weight + 1.0
        step = value - self._mean
        self._mean += step / self._weight
        # As Welford: no difference of two large sums of squares.
        self._squares = self._decay * self._squares + step * (value - self._mean)
        return score
