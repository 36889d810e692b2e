"""What the metrics of this family share: singular values, and their shares of the whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.records import Sketch, Spectrum

if TYPE_CHECKING:
    from mlx_probe.metrics.measurement import Measurement

__all__ = ["absolute", "energy_shares", "entropy", "leading_values", "shares_of", "singular_values"]


def singular_values(m: Measurement) -> NDArray[np.float64] | None:
    """All singular values."""
    return m.spectrum.values if isinstance(m.spectrum, Spectrum) else None


def leading_values(m: Measurement) -> NDArray[np.float64] | None:
    """The largest singular values: all of them, or those of a sketch."""
    return m.spectrum.leading if isinstance(m.spectrum, Sketch) else singular_values(m)


def absolute(m: Measurement, value: float) -> float | None:
    """A singular value, or a sum of some, in the weight's units."""
    return m.absolute(value, m.spectrum.exponent if isinstance(m.spectrum, Spectrum) else 0)


def shares_of(m: Measurement, power: int) -> NDArray[np.float64] | None:
    """sigma**power over its sum, descending; scaled first, so that squares cannot underflow."""
    sigma = singular_values(m)
    if sigma is None or sigma[0] == 0:
        return None

    def divide() -> NDArray[np.float64]:
        shares = (sigma / sigma[0]) ** power
        return np.asarray(shares / shares.sum())

    return m.once(f"shares of sigma to the power {power}", divide)


def energy_shares(m: Measurement) -> NDArray[np.float64] | None:
    """Lambda over its sum for the leading values; a sketch takes the sum from the elements."""
    if not isinstance(m.spectrum, Sketch):
        return shares_of(m, 2)
    norm = math.sqrt(m.moments.sum_of_squares)
    return (m.spectrum.leading / norm) ** 2 if norm > 0 else None


def entropy(shares: NDArray[np.float64]) -> float:
    """-sum p ln p, with 0 ln 0 = 0."""
    p = shares[shares > 0]
    return float(-np.sum(p * np.log(p)))
