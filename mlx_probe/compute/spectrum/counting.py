"""The numerical rank without a spectrum: definiteness and inertia of a shifted Gram matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import lapack
from mlx_probe.compute.backends.protocol import Gram
from mlx_probe.compute.spectrum.bounds import gram_eigenvalue_bound, squares_are_safe
from mlx_probe.core.records import RankCount

__all__ = ["count_rank"]

# Lanczos steps, and how far the largest eigenvalue may lie above what they find. From a random
# start the chance that it lies higher is below 1.648 sqrt(M) exp(-sqrt(0.1) (2 * 40 - 1)),
# 3e-9 at M = 16,384 (Kuczynski and Wozniakowski 1992, SIAM J. Matrix Anal. Appl. 13, theorem
# 4.2).
STEPS, ABOVE = 40, 1 / 0.9

# Rows that are mirrored at a time.
BLOCK = 512


def count_rank(gram: Gram, rows: int, cols: int, rank_tol: float) -> RankCount | None:
    """Count the singular values above rank_tol sigma_1, if the count can be proved.

    One Cholesky factorization of G - t I, with t a little above the squared threshold, proves
    full rank. If it does not exist, the inertia of G - t I is computed for a t on each side of
    the threshold, as far from it as the bounds of lambda_1 and of the factorization's error
    demand: equal counts prove the rank. This is a third of the work of a spectrum, or less.

    Args:
        gram: Gram matrix of the short side; unchanged if the result is None.
        rows: Rows of the matrix.
        cols: Columns of the matrix.
        rank_tol: Tolerance of the numerical rank, relative to sigma_1.

    Returns:
        The rank, or None if eigenvalues are needed.
    """
    matrix, omitted = gram.matrix, gram.omitted
    if not squares_are_safe(matrix):
        return None
    diagonal = np.diagonal(matrix).copy()
    below = _largest_eigenvalue(matrix)
    above = min(ABOVE * below, float(diagonal.sum()))
    solver = gram_eigenvalue_bound(above, len(matrix))

    def shift(largest: float, side: int) -> float:
        t = rank_tol * np.sqrt(largest)
        return float(t**2 + side * (solver + 2 * t * omitted + omitted**2))

    # How far a shift that is off by the bound moves a singular value at the threshold.
    error = (shift(above, 1) - rank_tol**2 * above) / (rank_tol * above)
    if shift(below, -1) <= 0 or error > rank_tol / 10:
        return None
    _mirror(matrix)
    try:
        _set_diagonal(matrix, diagonal - shift(above, 1))
        if lapack.is_positive_definite(matrix):
            return RankCount(len(matrix), rows, cols, "cholesky_f64", error)
        counts = []
        for largest, side in ((above, 1), (below, -1)):
            _restore(matrix)
            _set_diagonal(matrix, diagonal - shift(largest, side))
            counts.append(lapack.positive_count(matrix))
        if counts[0] == counts[1]:
            return RankCount(counts[0], rows, cols, "inertia_f64", error)
    finally:
        _restore(matrix)
        _set_diagonal(matrix, diagonal)
    return None


def _largest_eigenvalue(matrix: NDArray[np.float64]) -> float:
    """A lower bound of lambda_1 by the Lanczos process with full reorthogonalisation."""
    size = len(matrix)
    v = np.random.default_rng(0).standard_normal(size)
    basis = np.empty((min(STEPS, size), size))
    alpha, beta = [], []
    for step in range(len(basis)):
        basis[step] = v / np.linalg.norm(v)
        v = lapack.symmetric_product(matrix, basis[step])
        alpha.append(float(basis[step] @ v))
        for _ in range(2):  # twice is enough (Parlett)
            v -= basis[: step + 1].T @ (basis[: step + 1] @ v)
        beta.append(float(np.linalg.norm(v)))
        if beta[-1] <= 1e-12 * max(alpha):
            break
    inner = beta[: len(alpha) - 1]
    return float(np.linalg.eigvalsh(np.diag(alpha) + np.diag(inner, 1) + np.diag(inner, -1))[-1])


def _mirror(matrix: NDArray[np.float64]) -> None:
    """Keep a copy of the upper triangle in the lower one, which factorizations do not change."""
    for first in range(0, len(matrix), BLOCK):
        rows = slice(first, first + BLOCK)
        matrix[rows, :first] = matrix[:first, rows].T
        corner = matrix[rows, rows]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T


def _restore(matrix: NDArray[np.float64]) -> None:
    """Restore the upper triangle from its copy."""
    for first in range(0, len(matrix), BLOCK):
        rows = slice(first, first + BLOCK)
        matrix[:first, rows] = matrix[rows, :first].T
        corner = matrix[rows, rows]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T


def _set_diagonal(matrix: NDArray[np.float64], diagonal: NDArray[np.float64]) -> None:
    matrix[np.arange(len(matrix)), np.arange(len(matrix))] = diagonal
