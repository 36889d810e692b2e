"""The methods that a row may name in ``spectrum_method``: what each computes, and its work.

`METHODS` is the table. A new method is a file beside this one, which names it in the result that
it returns, and a line here: documentation, cost account and forecast follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlx_probe.compute.spectrum.lanczos import BASIS
from mlx_probe.core.records import RankCount, Sketch, Spectrum

__all__ = ["GRAM_METHODS", "METHODS", "SpectrumMethod", "flops_of", "gram_flops"]


@dataclass(frozen=True)
class SpectrumMethod:
    """One way to singular values, or to what depends on them.

    Attributes:
        name: What `Spectrum`, `RankCount` or `Sketch` and the tables call it.
        gives: What it computes: "all singular values", "the rank" ...
        description: How, in a few words.
        stage: Stage of the cost account that its time and its work belong to.
        flops: Floating-point operations for M = min(rows, cols) and N = max(rows, cols), the
            Gram matrix apart. Leading terms: Golub and Van Loan, "Matrix Computations", 4th ed.,
            chapters 4, 5 and 8.
    """

    name: str
    gives: str
    description: str
    stage: str
    flops: Callable[[float, float], float]


# Reduction of a symmetric matrix to a tridiagonal one, at once or by way of a band.
def _tridiagonal(m: float, n: float) -> float:
    return 4 / 3 * m**3


# One Cholesky factorization.
def _cholesky(m: float, n: float) -> float:
    return m**3 / 3


# Two LDL^T factorizations, after a Cholesky factorization that failed.
def _inertia(m: float, n: float) -> float:
    return m**3


# Reduction to a bidiagonal matrix, after a QR factorization of what is not square.
def _qr_svd(m: float, n: float) -> float:
    return (2 * n * m**2 if n > m else 0.0) + 8 / 3 * m**3


# Two products with the matrix for each vector of the basis.
def _lanczos(m: float, n: float) -> float:
    return 4.0 * m * n * min(BASIS, m)


def _nothing(m: float, n: float) -> float:
    return 0.0


_ALL, _RANK, _LEADING = "all singular values", "the rank", "leading values and estimates"

METHODS: dict[str, SpectrumMethod] = {
    method.name: method
    for method in (
        SpectrumMethod(
            "gram_f64", _ALL, "eigenvalues of a float64 Gram matrix", "solve", _tridiagonal
        ),
        SpectrumMethod(
            "gram_2stage_f64", _ALL, "the same by way of a band matrix", "solve", _tridiagonal
        ),
        SpectrumMethod(
            "gram_native_f64", _ALL, "the same by the compiled solver", "solve", _tridiagonal
        ),
        SpectrumMethod("qr_svd_f64", _ALL, "float64 QR and SVD of the elements", "direct", _qr_svd),
        SpectrumMethod(
            "cholesky_f64", _RANK, "one factorization that proves full rank", "solve", _cholesky
        ),
        SpectrumMethod(
            "inertia_f64", _RANK, "two factorizations that count directions", "solve", _inertia
        ),
        SpectrumMethod(
            "block_lanczos", _LEADING, "block Lanczos on the Gram operator", "sketch", _lanczos
        ),
        SpectrumMethod(
            "zero_matrix", _ALL, "nothing to compute: all elements are 0", "solve", _nothing
        ),
    )
}


# The method's name by the eigen-solver of a Gram matrix (`lapack.Solver`).
GRAM_METHODS: dict[str, str] = {
    "one_stage": "gram_f64",
    "two_stage": "gram_2stage_f64",
    "native": "gram_native_f64",
}


def flops_of(spectrum: Spectrum | RankCount | Sketch) -> float:
    """Floating-point operations of the method that computed something, the Gram matrix apart."""
    short, long = sorted((float(spectrum.rows), float(spectrum.cols)))
    return METHODS[spectrum.method].flops(short, long)


def gram_flops(numel: int, short: int) -> float:
    """Floating-point operations of a Gram matrix: one triangle of a product.

    Args:
        numel: Elements of the matrix, or of a part of it.
        short: Short side of the matrix.
    """
    return numel * (short + 1)
