"""The rank rule: the thresholds of the counts, and when a count is certain."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.spectrum.bounds import gram_eigenvalue_bound
from mlx_probe.core.records import Moments

__all__ = ["certified", "count_above", "noise_threshold", "numpy_tolerance"]


def numpy_tolerance(rows: int, cols: int) -> float:
    """``numpy.linalg.matrix_rank``'s default tolerance on float32 data, relative to sigma_1."""
    return max(rows, cols) * float(np.finfo(np.float32).eps)


def noise_threshold(moments: Moments, rows: int, cols: int) -> float | None:
    """Spectral norm to expect of the file's own rounding noise, in units of 2**moments.exponent.

    s_q (sqrt(rows) + sqrt(cols)), the edge of the spectrum of independent noise of variance
    s_q**2 = mean of ulp(x)**2 / 12. None for integers, which carry no rounding.
    """
    variance = moments.rounding_variance
    if variance is None:
        return None
    return float(np.sqrt(variance) * (np.sqrt(rows) + np.sqrt(cols)))


def count_above(values: NDArray[np.float64], threshold: float) -> int:
    """Number of singular values above a threshold.

    Strictly above, so that a zero matrix has rank 0 at every tolerance.
    """
    return int(np.count_nonzero(values > threshold))


def certified(
    eigenvalues: NDArray[np.float64], omitted: float, thresholds: Iterable[float]
) -> bool:
    """Whether no error can change the count above any of the thresholds.

    The count above a threshold t is certain if no eigenvalue lies within delta of t**2. delta is
    the solver's bound (`gram_eigenvalue_bound`) plus how far eigenvalues can move between the
    stored matrix and one that differs from it by ``omitted``: 2 t e + e**2 (Weyl's inequality,
    squared).

    Args:
        eigenvalues: Computed eigenvalues of the Gram matrix, shape (M,), any order.
        omitted: Frobenius norm e of what the Gram matrix left out.
        thresholds: Singular values to count above, in the weight's units.
    """
    solver = gram_eigenvalue_bound(float(eigenvalues.max()), len(eigenvalues))
    for t in thresholds:
        delta = solver + 2 * t * omitted + omitted**2
        surely = np.count_nonzero(eigenvalues > t**2 + delta)
        possibly = np.count_nonzero(eigenvalues > t**2 - delta)
        if surely != possibly:
            return False
    return True
