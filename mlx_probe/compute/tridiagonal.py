"""Eigenvalues of a tridiagonal matrix, certified by Sturm counts.

LAPACK's sterf (square-root-free QL and QR) is the fast way to all eigenvalues, but its error grows
with the order: 24 eps lambda_1 at 1,024, 56 at 2,048, up to 87 at 4,096, of Gaussian matrices. A
count of the eigenvalues below a number is wrong by no more than a few eps, whatever the order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import SpectrumError

__all__ = ["CERTIFIED", "certify", "count_below"]

Vector = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)

# Error of a certified eigenvalue, in eps of the largest magnitude. The reduction to a tridiagonal
# matrix and the Gram product add theirs; see `spectrum.bounds`.
CERTIFIED = 12

# Half the width of the first bracket of an eigenvalue that is not certified, in the same unit.
_FIRST = 512

# Bisections halve the widest possible bracket to the last bit.
_ROUNDS = 64


def certify(values: Vector, diagonal: Vector, couplings: Vector) -> Vector:
    """Approximate eigenvalues, each moved where it is not within `CERTIFIED` eps of the exact one.

    Both ends of an interval around each value are counted, and intervals that do not hold their
    eigenvalue are replaced by brackets and halved. Two counts suffice for nearly all values.

    Args:
        values: Approximate eigenvalues, ascending, shape (n,).
        diagonal: Shape (n,).
        couplings: Elements beside the diagonal, shape (n - 1,).

    Returns:
        Ascending eigenvalues, shape (n,).

    Raises:
        SpectrumError: An element is not finite.
    """
    size = float(np.abs(diagonal).max()) + 2 * float(np.abs(couplings).max(initial=0.0))
    if not (np.isfinite(size) and np.isfinite(values).all()):
        raise SpectrumError(
            "LAPACK sterf did not converge", "Report the tensor; its other columns are valid"
        )
    if size == 0:
        return np.zeros(len(values))
    # A power of two changes no digit. The squares of what is left neither overflow nor matter
    # where they underflow.
    scale = 2.0 ** -np.frexp(size)[1]
    values, diagonal, squares = values * scale, diagonal * scale, (couplings * scale) ** 2
    largest, radius = float(np.abs(values).max()), size * scale
    tolerance = CERTIFIED * _EPS * largest

    def holds(low: Vector, high: Vector, ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
        counts = count_below(np.concatenate((low, high)), diagonal, squares)
        return np.asarray((counts[: len(low)] <= ranks) & (ranks < counts[len(low) :]))

    result = values.copy()
    ranks = np.arange(len(values))
    ranks = ranks[~holds(values - tolerance, values + tolerance, ranks)]
    reach = _FIRST * _EPS * largest
    low, high = values[ranks] - reach, values[ranks] + reach
    lost = ~holds(low, high, ranks)
    # Every eigenvalue is in the interval of Gershgorin's circles.
    low[lost], high[lost] = -radius, radius
    for _ in range(_ROUNDS):
        if not np.any(wide := high - low > 2 * tolerance):
            break
        middle = 0.5 * (low + high)
        below = np.zeros(len(ranks), bool)
        below[wide] = count_below(middle[wide], diagonal, squares) <= ranks[wide]
        low = np.where(wide & below, middle, low)
        high = np.where(wide & ~below, middle, high)
    result[ranks] = 0.5 * (low + high)
    # Brackets of one cluster may overlap.
    return np.asarray(np.maximum.accumulate(result) / scale)


def count_below(shifts: Vector, diagonal: Vector, squares: Vector) -> NDArray[np.int64]:
    """Number of eigenvalues below each of several numbers.

    The signs of the pivots of T - x = L D L^T (Sylvester's law of inertia). Rounding changes each
    element of T by a few eps of itself (Demmel, "Applied Numerical Linear Algebra", section
    5.3.4). A pivot of zero makes the next one infinite, and the one after that right again.

    Args:
        shifts: Shape (m,).
        diagonal: Shape (n,).
        squares: Squares of the elements beside the diagonal, shape (n - 1,).

    Returns:
        Shape (m,).
    """
    pivot, negative = np.empty(len(shifts)), np.empty(len(shifts), bool)
    counts = np.zeros(len(shifts), np.int64)
    # Not zero: a zero over a pivot of zero is not a number.
    squares = np.maximum(np.append(0.0, squares), np.finfo(np.float64).tiny)
    pivot.fill(np.inf)
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        for element, square in zip(diagonal.tolist(), squares.tolist(), strict=True):
            np.divide(square, pivot, out=pivot)
            np.add(pivot, shifts, out=pivot)
            np.subtract(element, pivot, out=pivot)
            np.less(pivot, 0.0, out=negative)
            np.add(counts, negative, out=counts)
    return counts
