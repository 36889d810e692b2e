"""LAPACK in place, from the library that numpy has loaded.

numpy.linalg copies its arguments, and wraps neither the rank-k update, nor the two-stage
eigen-solver, nor a factorization that counts. `fortran` calls all of them in the OpenBLAS of
numpy's wheels. Where a library lacks them, numpy.linalg computes the same with more memory and
more work.

Matrices are float64 in C order; of symmetric ones only the upper triangle is read or written.
LAPACK sees the transpose and calls it the lower one, for which its reductions are faster.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import fortran, tridiagonal
from mlx_probe.compute.cores import threads, width, width_address
from mlx_probe.compute.native import eigen
from mlx_probe.compute.native.gram import add_products
from mlx_probe.core.errors import SpectrumError

__all__ = [
    "SOLVERS",
    "TILED",
    "Solver",
    "add_gram",
    "eigenvalues",
    "fold",
    "has_two_stage",
    "is_positive_definite",
    "positive_count",
    "singular_values",
    "symmetric_product",
    "threads",
    "width",
    "width_address",
    "works_in_place",
    "workspace",
]

Matrix = NDArray[np.float64]

# Ways to eigenvalues: the compiled solver; LAPACK, to a tridiagonal matrix at once; LAPACK, to a
# band first.
Solver = Literal["native", "one_stage", "two_stage"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)

# Order from which the eigenvalues that LAPACK computes are certified: below, the error of sterf
# leaves the bound alone, and two counts would cost a third of the time.
_CERTIFIED_FROM = 1024

# Columns of a panel in the QR update: LAPACK's usual block.
_PANEL = 64

# Order from which a Gram matrix is divided into tiles, and the tiles of a side.
TILED, _TILES = 2048, 4

# Rows of a product at a time without the rank-k update: bounds its extra memory.
_STRIPE = 1024


def add_gram(matrix: Matrix, x: Matrix) -> None:
    """Add ``x.T @ x`` to the upper triangle of a matrix: half a product's work.

    Compiled kernels do it where they are faster than BLAS; they change the lower triangle, too.

    Tiles of a large matrix are computed side by side on as many cores as the caller has
    (`width`). The tiles are the same for any number, and each is one call in one BLAS thread: no
    bit of the result depends on the number. BLAS's own threads would divide the work differently
    for each number.

    Args:
        matrix: Shape (M, M); changed in place.
        x: Shape (k, M); copied if it is neither in C nor in Fortran order.
    """
    n = len(matrix)
    if not fortran.is_available():
        for first in range(0, n, _STRIPE):
            last = first + _STRIPE
            matrix[first:last, first:] += x[:, first:last].T @ x[:, first:]
        return
    if not (x.flags.c_contiguous or x.flags.f_contiguous):
        x = np.ascontiguousarray(x)
    step = n if n < TILED else -(-n // _TILES)
    cuts = [slice(first, min(first + step, n)) for first in range(0, n, step)]
    # Tiles off the diagonal first: they take twice as long.
    tiles = [(a, b) for i, a in enumerate(cuts) for b in cuts[i + 1 :]]
    tiles += [(a, a) for a in cuts]

    def add(tile: tuple[slice, slice]) -> None:
        _add_tile(matrix, x, *tile)

    cores = width()
    if cores == 1 or len(tiles) == 1:
        for tile in tiles:
            add(tile)
        return
    with ThreadPoolExecutor(min(cores, len(tiles))) as pool:
        for _ in pool.map(add, tiles):
            pass


def _add_tile(matrix: Matrix, x: Matrix, rows: slice, cols: slice) -> None:
    """The part of `add_gram` in some rows and columns: syrk on the diagonal, gemm above it."""
    if add_products(matrix[rows, cols], x[:, rows], x[:, cols], rows == cols):
        return
    n, k = len(matrix), len(x)
    # A matrix in row order is the transpose for LAPACK.
    plain = x.flags.c_contiguous
    one, lead = ctypes.c_double(1.0), n if plain else k
    tile, left, right = matrix[rows, cols], x[:, rows], x[:, cols]
    high, wide = tile.shape
    if rows == cols:
        fortran.call("dsyrk", "L", "N" if plain else "T", wide, k, one, left, lead, one, tile, n)
        return
    ways = ("N", "T") if plain else ("T", "N")
    fortran.call("dgemm", *ways, wide, high, k, one, right, lead, left, lead, one, tile, n)


def symmetric_product(matrix: Matrix, v: Matrix) -> Matrix:
    """Product of a symmetric matrix and a vector (BLAS symv).

    Args:
        matrix: Shape (M, M), upper triangle.
        v: Shape (M,), contiguous.

    Returns:
        Shape (M,).
    """
    n = len(matrix)
    if not fortran.is_available():
        above = np.triu(matrix, 1)
        return np.asarray(above @ v + above.T @ v + np.diagonal(matrix) * v)
    product = np.empty(n)
    one, zero = ctypes.c_double(1.0), ctypes.c_double(0.0)
    fortran.call("dsymv", "L", n, one, matrix, n, v, 1, zero, product, 1)
    return product


def has_two_stage() -> bool:
    """Whether the two-stage eigen-solver can be called."""
    return fortran.is_available()


def works_in_place() -> bool:
    """Whether factorizations take hardly more memory than their matrix."""
    return fortran.is_available()


def workspace(size: int) -> int:
    """Bytes that a matrix of an order and its factorization take at most.

    In place these are the matrix and at most 104 columns of work (those of syevd_2stage), or
    those of the compiled solver. numpy.linalg makes up to eight copies while it stacks,
    factorizes and decomposes.
    """
    if not works_in_place():
        return 64 * size**2
    return 8 * size**2 + max(8 * 128 * size, eigen.workspace(size))


def eigenvalues(matrix: Matrix, solver: Solver | None = None) -> Matrix:
    """Eigenvalues of a symmetric matrix, ascending.

    Args:
        matrix: Shape (M, M), upper triangle; destroyed.
        solver: Which solver; None for the compiled one where it can be called, else LAPACK's
            one-stage reduction. A solver that cannot be called is replaced likewise.

    Returns:
        Shape (M,).

    Raises:
        SpectrumError: The iteration did not converge, or an element is not finite.
    """
    n = len(matrix)
    if solver in (None, "native") and eigen.is_available(n):
        return eigen.eigenvalues(matrix)
    if not fortran.is_available():
        try:
            if n < _CERTIFIED_FROM:
                return np.asarray(np.linalg.eigvalsh(matrix, UPLO="U"), np.float64)
            # Divide and conquer, for the vectors: its values are within a few eps. The tridiagonal
            # matrix, by which those of eigvalsh could be certified, is out of reach.
            return np.asarray(np.linalg.eigh(matrix, UPLO="U")[0], np.float64)
        except np.linalg.LinAlgError as error:
            raise _did_not_converge("syevd") from error
    two_stage = solver == "two_stage" and n > 1
    reduction = "dsytrd_2stage" if two_stage else "dsytrd"
    if n >= _CERTIFIED_FROM and fortran.has(reduction) and fortran.has("dsterf"):
        return _certified_eigenvalues(matrix, reduction)
    routine = "dsyevd_2stage" if two_stage else "dsyevd"
    values, info = np.empty(n), fortran.Info()
    size, integer_size = _eigen_workspace(routine, n)
    work, integers = np.empty(size), np.zeros(integer_size, np.int64)
    fortran.call(
        routine,
        *("N", "L", n, matrix, n, values, work, work.size, integers, integers.size, info),
    )
    if info.code:
        raise _did_not_converge(routine[1:])
    return values


def _certified_eigenvalues(matrix: Matrix, reduction: str) -> Matrix:
    """The same by the parts of LAPACK's driver, the last one checked; see `tridiagonal`.

    Args:
        matrix: Shape (M, M), upper triangle; destroyed.
        reduction: The routine that makes it tridiagonal.
    """
    n, info = len(matrix), fortran.Info()
    diagonal, couplings = np.empty(n), np.empty(n - 1)
    arguments: list[Any] = ["L", n, matrix, n, diagonal, couplings, np.empty(n)]
    best, more = np.empty(1), np.empty(1)
    if reduction == "dsytrd_2stage":
        arguments.insert(0, "N")
        fortran.call(reduction, *arguments, more, -1, best, -1, info)
        arguments += [np.empty(int(more[0])), int(more[0])]
    fortran.call(reduction, *arguments, best, -1, info)
    work = np.empty(int(best[0]))
    fortran.call(reduction, *arguments, work, work.size, info)
    values, rest = diagonal.copy(), couplings.copy()
    fortran.call("dsterf", n, values, rest, info)
    if info.code:
        raise _did_not_converge("sterf")
    return tridiagonal.certify(values, diagonal, couplings)


@lru_cache(maxsize=256)
def _eigen_workspace(routine: str, n: int) -> tuple[int, int]:
    """Numbers and integers that an eigen-solver needs for a matrix of an order."""
    none, best, integers = np.empty(1), np.empty(1), np.zeros(1, np.int64)
    info = fortran.Info()
    fortran.call(routine, "N", "L", n, none, n, none, best, -1, integers, -1, info)
    return int(best[0]), max(int(integers[0]), 1)


def is_positive_definite(matrix: Matrix) -> bool:
    """Whether the Cholesky factorization of a symmetric matrix exists (LAPACK potrf).

    Args:
        matrix: Shape (M, M), upper triangle; destroyed.
    """
    if not fortran.is_available():
        try:
            np.linalg.cholesky(matrix.T)
        except np.linalg.LinAlgError:
            return False
        return True
    n, info = len(matrix), fortran.Info()
    fortran.call("dpotrf", "L", n, matrix, n, info)
    return info.code == 0


def positive_count(matrix: Matrix) -> int:
    """Number of positive eigenvalues of a symmetric matrix, without computing them.

    The diagonal blocks of its LDL^T factorization have the same signs (Sylvester's law of
    inertia). LAPACK sytrf; Bunch and Kaufman's blocks of order two hold one positive and one
    negative eigenvalue each.

    Args:
        matrix: Shape (M, M), upper triangle; destroyed.
    """
    n = len(matrix)
    if not fortran.is_available():
        return int(np.count_nonzero(np.linalg.eigvalsh(matrix, UPLO="U") > 0))
    pivots, best, info = np.zeros(n, np.int64), np.empty(1), fortran.Info()
    fortran.call("dsytrf", "L", n, matrix, n, pivots, best, -1, info)
    work = np.empty(int(best[0]))
    fortran.call("dsytrf", "L", n, matrix, n, pivots, work, work.size, info)
    # A library with 32-bit integers has filled the first half of the buffer only.
    if fortran.integer_bits() == 32:
        pivots = pivots.view(np.int32)[:n].astype(np.int64)
    single = pivots > 0
    return int(np.count_nonzero(np.diagonal(matrix)[single] > 0)) + int((~single).sum()) // 2


def fold(triangle: Matrix, x: Matrix) -> Matrix:
    """Triangular factor of a triangle with rows below it (LAPACK tpqrt, in place).

    Args:
        triangle: Upper triangular, shape (M, M), Fortran order; destroyed.
        x: Shape (k, M), Fortran order; destroyed.

    Returns:
        Upper triangular, shape (M, M), Fortran order.
    """
    k, n = x.shape
    if not fortran.is_available():
        return np.asfortranarray(np.linalg.qr(np.concatenate((triangle, x)), mode="r"))
    panel, info = min(_PANEL, n), fortran.Info()
    reflectors, work = np.empty(panel * n), np.empty(panel * n)
    fortran.call("dtpqrt", k, n, 0, panel, triangle, n, x, k, reflectors, panel, work, info)
    return triangle


def singular_values(matrix: Matrix) -> Matrix:
    """Singular values of a square matrix, descending (LAPACK gesdd).

    Args:
        matrix: Shape (M, M), Fortran order; destroyed.

    Returns:
        Shape (M,).

    Raises:
        SpectrumError: The iteration did not converge.
    """
    n = len(matrix)
    if not fortran.is_available():
        try:
            return np.asarray(np.linalg.svd(matrix, compute_uv=False), np.float64)
        except np.linalg.LinAlgError as error:
            raise _did_not_converge("gesdd") from error
    values, none, info = np.empty(n), np.empty(1), fortran.Info()
    integers, best = np.zeros(8 * n, np.int64), np.empty(1)
    shape = ("N", n, n, matrix, n, values, none, 1, none, 1)
    fortran.call("dgesdd", *shape, best, -1, integers, info)
    work = np.empty(int(best[0]))
    fortran.call("dgesdd", *shape, work, work.size, integers, info)
    if info.code:
        raise _did_not_converge("gesdd")
    return values


def _did_not_converge(routine: str) -> SpectrumError:
    return SpectrumError(
        f"LAPACK {routine} did not converge", "Report the tensor; its other columns are valid"
    )
