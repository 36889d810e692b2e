"""Which vectors are a combination of two others, by their Gram matrix alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.elements import Matrix

__all__ = ["LEFT", "SMALLEST_SHARE", "Combination", "best_combinations", "combined"]

# A combination in which one of the two has less is next to a copy of the other.
SMALLEST_SHARE = 0.05
# What two leave of a vector, over what the nearer one alone leaves of it. Vectors that are all next
# to copies of each other are near many combinations: two of them leave 0.9 of what one leaves.
LEFT = 0.2


@dataclass(frozen=True)
class Combination:
    """A vector c as a x + b y.

    Attributes:
        first: Index of x.
        second: Index of y, above ``first``.
        a: Its factor, above 0.
        b: The other factor, above 0.
        residual: Norm of c - a x - b y over that of c.
        left: The same over what the nearer one of the two alone leaves of c.
    """

    first: int
    second: int
    a: float
    b: float
    residual: float
    left: float

    @property
    def share(self) -> float:
        """What x has of the sum: a / (a + b)."""
        return self.a / (self.a + self.b)


def best_combinations(gram: Matrix, usable: NDArray[np.bool_]) -> dict[int, Combination]:
    """For each vector the two others that it is nearest to a combination of, by least squares.

    Only combinations with positive factors count, each at least `SMALLEST_SHARE` of their sum: of
    x, y and their mean only the mean is one. Two vectors of one direction are no pair.

    Args:
        gram: Gram matrix, whole, shape (E, E), float64.
        usable: Vectors that are finite and not zero, shape (E,).

    Returns:
        By the vector's index; without those that no pair comes into question for. Residuals below
        1e-7 or so are rounding.
    """
    found: dict[int, Combination] = {}
    norms = np.sqrt(np.where(usable, np.diagonal(gram), 1.0))
    unit = np.where(usable[:, None] & usable, gram, 0.0) / norms[:, None] / norms
    determinant = 1 - unit**2
    pairs = np.triu(usable[:, None] & usable & (determinant > 1e-9), 1)
    determinant[~pairs] = 1.0
    for c in np.flatnonzero(usable):
        with_x, with_y = unit[c][:, None], unit[c][None, :]
        a = (with_x - unit * with_y) / determinant / norms[:, None]
        b = (with_y - unit * with_x) / determinant / norms[None, :]
        allowed = pairs & (a > 0) & (b > 0)
        allowed[c] = allowed[:, c] = False
        share = np.divide(a, a + b, out=np.zeros_like(a), where=allowed)
        allowed &= (share >= SMALLEST_SHARE) & (share <= 1 - SMALLEST_SHARE)
        if not allowed.any():
            continue
        explained = a * norms[:, None] * with_x + b * norms[None, :] * with_y
        explained[~allowed] = -np.inf
        x, y = np.unravel_index(int(np.argmax(explained)), explained.shape)
        rest = float(np.sqrt(max(0.0, 1 - explained[x, y])))
        factors = (float(a[x, y] * norms[c]), float(b[x, y] * norms[c]))
        alone = float(np.sqrt(max(0.0, 1 - max(unit[c, x], unit[c, y]) ** 2)))
        left = rest / alone if alone > 0 else 1.0
        found[int(c)] = Combination(int(x), int(y), *factors, rest, left)
    return found


def combined(grams: Matrix) -> Combination | None:
    """The first of three vectors as a combination of the other two.

    Args:
        grams: Their Gram matrices in several parts, shape (parts, 3, 3): one pair of factors
            serves all parts, and the residual is the largest of a part.

    Returns:
        None where the factors are not positive, one has less than `SMALLEST_SHARE`, or the two
        leave more than `LEFT` of what one of them leaves.
    """
    total = grams.sum(axis=0)
    (a, b), *_ = np.linalg.lstsq(total[1:, 1:], total[1:, 0], rcond=None)
    share = a / (a + b) if a > 0 and b > 0 else 0.0
    if not SMALLEST_SHARE <= share <= 1 - SMALLEST_SHARE:
        return None
    factors = np.array([1.0, -a, -b])
    rests = np.einsum("i,pij,j->p", factors, grams, factors)
    alone = float(np.min(total[0, 0] - total[0, 1:] ** 2 / np.diagonal(total)[1:]))
    left = float(np.sqrt(max(0.0, rests.sum()) / alone)) if alone > 0 else 1.0
    if left > LEFT:
        return None
    rest = float(np.sqrt(max(0.0, np.max(rests / grams[:, 0, 0]))))
    return Combination(1, 2, float(a), float(b), rest, left)
