"""All singular values of a matrix, by the fastest method whose error bound allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.backends import Backend, Gram
from mlx_probe.records import Moments, Spectrum
from mlx_probe.spectrum.bounds import direct_error, gram_error
from mlx_probe.spectrum.rank import certified, count_above, noise_threshold, numpy_tolerance

__all__ = ["count_above", "noise_threshold", "numpy_tolerance", "singular_values"]

# Below this tolerance the squares in question drown in the rounding of sigma_1 squared.
SMALLEST_GRAM_TOL = 2e-7

# Outside this range of the trace, squares may have overflowed or lost bits to underflow.
SAFE_TRACE = (1e-250, 1e250)


def singular_values(
    gram: Gram,
    moments: Moments,
    rows: int,
    cols: int,
    slabs: Callable[[], Iterator[NDArray[Any]]],
    dtype: str,
    backend: Backend,
    rank_tol: float,
) -> Spectrum:
    """Spectrum of a finite matrix, exact enough for every count that is taken of it.

    First the square roots of the Gram matrix's eigenvalues. If their error bound exceeds a
    tenth of ``rank_tol``, or an eigenvalue lies so close to a threshold that the bound cannot
    tell on which side (`certified`), the matrix is read once more into a float64 QR and SVD.

    Args:
        gram: Gram matrix of the short side, float64, shape (M, M).
        moments: Moments of the elements, all finite.
        rows: Rows of the matrix.
        cols: Columns of the matrix.
        slabs: Starts another reading of the stored words, slab by slab.
        dtype: Their type, a key of `DTYPES`.
        backend: Does the factorizations.
        rank_tol: Tolerance of the numerical rank, relative to sigma_1.

    Returns:
        All min(rows, cols) singular values with method and error bound.

    Raises:
        SpectrumError: LAPACK did not converge.
    """
    if moments.min == moments.max == 0:
        return Spectrum(np.zeros(min(rows, cols)), rows, cols, "zero_matrix", 0.0)
    trace = float(np.trace(gram.matrix))
    if rank_tol >= SMALLEST_GRAM_TOL and SAFE_TRACE[0] < trace < SAFE_TRACE[1]:
        eigenvalues = backend.eigvalsh(gram.matrix)[::-1]
        error = gram_error(eigenvalues, gram.omitted)
        largest = float(np.sqrt(eigenvalues[0]))
        thresholds = [rank_tol * largest, numpy_tolerance(rows, cols) * largest]
        noise = noise_threshold(moments, rows, cols)
        if noise is not None:
            thresholds.append(noise)
        if error <= rank_tol / 10 and certified(eigenvalues, gram.omitted, thresholds):
            values = np.sqrt(np.maximum(eigenvalues, 0.0))
            return Spectrum(values, rows, cols, "gram_f64", error)
    triangle = backend.triangular_pass(rows, cols, dtype)
    for stored in slabs():
        triangle.add(backend.load(stored, dtype))
    return Spectrum(triangle.singular_values(), rows, cols, "qr_svd_f64", direct_error(rows, cols))
