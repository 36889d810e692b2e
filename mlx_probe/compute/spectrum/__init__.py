"""All singular values of a matrix, by the fastest method whose error bound allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import lapack
from mlx_probe.compute.backends.protocol import Gram
from mlx_probe.compute.solver_crossover import EigenSolvers
from mlx_probe.compute.spectrum.bounds import SMALLEST_GRAM_TOL, gram_error, squares_are_safe
from mlx_probe.compute.spectrum.counting import count_rank
from mlx_probe.compute.spectrum.direct import direct_spectrum
from mlx_probe.compute.spectrum.lanczos import BASIS
from mlx_probe.compute.spectrum.methods import (
    GRAM_METHODS,
    METHODS,
    SpectrumMethod,
    flops_of,
    gram_flops,
)
from mlx_probe.compute.spectrum.rank import certified, count_above, noise_threshold, numpy_tolerance
from mlx_probe.compute.spectrum.sketch import sketch_bytes, sketch_spectrum
from mlx_probe.core.records import Moments, Spectrum

__all__ = [
    "BASIS",
    "GRAM_METHODS",
    "METHODS",
    "MatrixReader",
    "SpectrumMethod",
    "count_above",
    "count_rank",
    "direct_spectrum",
    "flops_of",
    "gram_flops",
    "gram_spectrum",
    "noise_threshold",
    "numpy_tolerance",
    "singular_values",
    "sketch_bytes",
    "sketch_spectrum",
    "zero_spectrum",
]


@dataclass(frozen=True)
class MatrixReader:
    """A matrix of finite elements that can be read again.

    Attributes:
        rows: Rows.
        cols: Columns.
        dtype: Type of the stored words, a key of `DTYPES`.
        moments: Of the elements.
        slabs: Reads the stored words once more along the long side: (k, cols) of tall and
            square matrices, (rows, k) of wide ones.
        precise_gram: Makes the Gram matrix once more, with less left out.
    """

    rows: int
    cols: int
    dtype: str
    moments: Moments
    slabs: Callable[[], Iterable[NDArray[Any]]]
    precise_gram: Callable[[], Gram]


def singular_values(
    gram: Gram, reader: MatrixReader, rank_tol: float, solvers: EigenSolvers | None = None
) -> Spectrum:
    """Spectrum of a matrix, exact enough for every count that is taken of it.

    The first method is the square roots of the Gram matrix's eigenvalues. It does not suffice
    if their error bound exceeds a tenth of ``rank_tol``, or if an eigenvalue lies so close to a
    threshold that the bound does not decide the side (`certified`). If the Gram matrix left
    something out, the second method is the same with less left out. The last method is a
    float64 QR and SVD of the elements; it is the only one for extreme elements, whose squares
    could overflow or underflow, and scales them.

    Args:
        gram: Gram matrix of the short side; destroyed.
        reader: The matrix itself.
        rank_tol: Tolerance of the numerical rank, relative to sigma_1.
        solvers: Which eigen-solver a matrix is given; None for the compiled one where it can be
            called.

    Returns:
        All min(rows, cols) singular values with method and error bound.

    Raises:
        SpectrumError: LAPACK did not converge.
    """
    if reader.moments.min == reader.moments.max == 0:
        return zero_spectrum(reader.rows, reader.cols)
    exponent = reader.moments.exponent
    if not exponent and rank_tol >= SMALLEST_GRAM_TOL and squares_are_safe(gram.matrix):
        spectrum, precise_helps = gram_spectrum(gram, reader, rank_tol, solvers)
        if spectrum is None and precise_helps:
            gram = reader.precise_gram()
            spectrum, _ = gram_spectrum(gram, reader, rank_tol, solvers)
        if spectrum is not None:
            return spectrum
    return direct_spectrum(
        reader.slabs(), reader.rows, reader.cols, reader.dtype, gram.matrix, exponent
    )


def zero_spectrum(rows: int, cols: int) -> Spectrum:
    """The spectrum of a matrix of zeros."""
    return Spectrum(np.zeros(min(rows, cols)), rows, cols, "zero_matrix", 0.0)


def gram_spectrum(
    gram: Gram, reader: MatrixReader, rank_tol: float, solvers: EigenSolvers | None
) -> tuple[Spectrum | None, bool]:
    """Square roots of a Gram matrix's eigenvalues.

    Args:
        gram: Gram matrix of the short side; destroyed.
        reader: The matrix itself.
        rank_tol: Tolerance of the numerical rank, relative to sigma_1.
        solvers: As for `singular_values`.

    Returns:
        The spectrum, or None if it leaves a count undecided; and whether a Gram matrix that
        leaves nothing out would decide it.

    Raises:
        SpectrumError: The eigen-solver did not converge.
    """
    rows, cols = reader.rows, reader.cols
    matrix = _without_zeros(gram.matrix)
    solver = (solvers or EigenSolvers()).of_order(len(matrix))
    eigenvalues = lapack.eigenvalues(matrix, solver)[::-1]
    largest = float(np.sqrt(eigenvalues[0]))
    thresholds = [rank_tol * largest, numpy_tolerance(rows, cols) * largest]
    noise = noise_threshold(reader.moments, rows, cols)
    if noise is not None:
        thresholds.append(noise)

    def decided(omitted: float) -> float | None:
        """The error, if it leaves no count open."""
        error = gram_error(eigenvalues, omitted)
        close_enough = error <= rank_tol / 10
        return error if close_enough and certified(eigenvalues, omitted, thresholds) else None

    error = decided(gram.omitted)
    if error is None:
        return None, gram.omitted > 0 and decided(0.0) is not None
    values = np.zeros(min(rows, cols))
    values[: len(eigenvalues)] = np.sqrt(np.maximum(eigenvalues, 0.0))
    return Spectrum(values, rows, cols, GRAM_METHODS[solver], error), False


def _without_zeros(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix without its rows and columns of zeros, compacted in the same memory.

    A zero on a Gram matrix's diagonal is a line of zeros in the weight (pruned channels, unused
    tokens): a singular value of exactly zero. Rounding would hide it among the errors of the
    others, and send the whole matrix to the SVD.
    """
    kept = np.flatnonzero(np.diagonal(matrix))
    if len(kept) == len(matrix):
        return matrix
    flat, size = matrix.reshape(-1), len(kept)
    for new, old in enumerate(kept):
        flat[new * size : (new + 1) * size] = matrix[old, kept]
    return flat[: size * size].reshape(size, size)
