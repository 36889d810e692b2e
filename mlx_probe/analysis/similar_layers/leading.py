"""Leading singular values of a matrix, with the vectors of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.reading import Matrix, Numbers

__all__ = ["Directions", "leading_directions", "overlap", "spectrum_distance"]

# Vectors beyond those that are wanted, and how often the matrix is applied again: the usual
# choice for matrices whose singular values fall slowly.
_BEYOND, _AGAIN = 8, 2


@dataclass(frozen=True)
class Directions:
    """Leading singular directions of a matrix.

    Attributes:
        sigma: Descending, (k,).
        left: Of the matrix's rows, (rows, k), in half precision: angles need no more.
        right: Of its columns, (cols, k).
    """

    sigma: Matrix
    left: NDArray[np.float16]
    right: NDArray[np.float16]


def leading_directions(values: Numbers, count: int, seed: int) -> Directions:
    """Leading singular triplets by a random block and power iterations.

    Halko, Martinsson and Tropp 2011, "Finding Structure with Randomness", arXiv 0909.4061,
    algorithms 4.4 and 5.1. Equal matrices have equal directions; on a flat spectrum the vectors
    lie among the leading ones, and overlaps of two such matrices are too small.

    Args:
        values: Finite and not zero, (rows, cols).
        count: How many; at most the short side's extent is found.
        seed: Of the random block.
    """
    rows, cols = values.shape
    count = min(count, rows, cols)
    width = min(count + _BEYOND, rows, cols)
    block = np.random.default_rng(seed).standard_normal((cols, width), np.float32)
    basis = np.linalg.qr(values @ block)[0]
    for _ in range(_AGAIN):
        basis = np.linalg.qr(values @ np.linalg.qr(values.T @ basis)[0])[0]
    left, sigma, right = np.linalg.svd((basis.T @ values).astype(np.float64), full_matrices=False)
    return Directions(
        sigma[:count],
        (basis @ left[:, :count]).astype(np.float16),
        right[:count].T.astype(np.float16),
    )


def overlap(one: NDArray[np.float16], other: NDArray[np.float16]) -> float:
    """Mean squared cosine of the principal angles between two subspaces (Björck and Golub 1973)."""
    cosines = one.astype(np.float32).T @ other.astype(np.float32)
    return float(min(1.0, np.square(cosines).sum() / min(cosines.shape)))


def spectrum_distance(one: Directions, other: Directions) -> float:
    """Distance of the leading singular values over the length of the first ones."""
    return float(np.linalg.norm(one.sigma - other.sigma) / np.linalg.norm(one.sigma))
