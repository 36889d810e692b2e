"""Singular values straight from the elements, by sequential QR and SVD in float64."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import lapack
from mlx_probe.compute.spectrum.bounds import direct_error
from mlx_probe.core.dtypes import decode
from mlx_probe.core.records import Spectrum

__all__ = ["direct_spectrum"]

# Lines of the long side that are decoded and folded at a time.
LINES = 256


def direct_spectrum(
    slabs: Iterable[NDArray[Any]],
    rows: int,
    cols: int,
    dtype: str,
    workspace: NDArray[np.float64],
    exponent: int = 0,
) -> Spectrum:
    """Singular values by a QR factorization that takes in slab after slab.

    Backward stable with a bound of order M**1.5 eps sigma_1. The memory is never more than the
    triangle and a few lines. Source: Demmel, Grigori, Hoemmen, Langou 2012,
    "Communication-optimal parallel and sequential QR and LU factorizations", section 4;
    LAPACK tpqrt and gesdd.

    Args:
        slabs: Stored words along the long side: (k, cols) of tall and square matrices,
            (rows, k) of wide ones.
        rows: Rows of the matrix.
        cols: Columns of the matrix.
        dtype: Type of the words, a key of `DTYPES`.
        workspace: Shape (M, M), C order; destroyed. There may be no memory for a second one.
        exponent: Elements are divided by 2**exponent; see `Spectrum.exponent`.

    Raises:
        SpectrumError: The SVD did not converge.
    """
    triangle = workspace.T
    triangle[:] = 0.0
    filled = 0
    for stored in slabs:
        lines = stored if rows >= cols else stored.T
        for first in range(0, len(lines), LINES):
            x = decode(np.ascontiguousarray(lines[first : first + LINES]), dtype)
            block = x.astype(np.float64, order="F")
            if exponent:
                np.ldexp(block, -exponent, out=block)
            if rows == cols:
                # A square matrix goes to the SVD as it is.
                triangle[filled : filled + len(block)] = block
            else:
                triangle = lapack.fold(triangle, block)
            filled += len(block)
    values = lapack.singular_values(triangle)
    return Spectrum(values, rows, cols, "qr_svd_f64", direct_error(rows, cols), exponent)
