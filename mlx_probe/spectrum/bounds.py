"""Error bounds of the two ways to singular values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["EPS", "direct_error", "gram_eigenvalue_bound", "gram_error"]

EPS = float(np.finfo(np.float64).eps)


def gram_eigenvalue_bound(eigenvalues: NDArray[np.float64]) -> float:
    """Bound on the error of any eigenvalue of a float64 Gram matrix.

    64 eps lambda_1, growing with the size beyond 4,096. An empirical constant with a margin
    of eight: the worst error seen on 18 families of hard matrices was 8 eps lambda_1.
    """
    size = len(eigenvalues)
    return 64 * EPS * max(1.0, size / 4096) * float(eigenvalues.max())


def gram_error(eigenvalues: NDArray[np.float64], omitted: float) -> float:
    """Bound on ``|sigma - exact| / sigma_1`` for square roots of Gram eigenvalues.

    An eigenvalue off by d moves its root by at most d / sigma, and by at most sqrt(d) however
    small sigma is; what the Gram matrix left out moves it by at most its norm.

    Args:
        eigenvalues: Computed eigenvalues, shape (M,), the largest positive.
        omitted: Frobenius norm of what the Gram matrix left out.
    """
    largest = float(eigenvalues.max())
    smallest = max(float(eigenvalues.min()), 0.0)
    relative = gram_eigenvalue_bound(eigenvalues) / largest
    root = float(np.sqrt(relative))
    if smallest > 0:
        root = min(root, relative * float(np.sqrt(largest / smallest)))
    return root + omitted / float(np.sqrt(largest))


def direct_error(rows: int, cols: int) -> float:
    """Bound on ``|sigma - exact| / sigma_1`` for float64 QR and SVD: max(rows, cols) eps.

    LAPACK Users' Guide, section 4.9: a modest function of the shape times eps; the long side
    is numpy's customary choice for it.
    """
    return max(rows, cols) * EPS
