"""Some eigenvectors of a symmetric matrix, from one reduction to a tridiagonal one.

G = Q T Q.T with a tridiagonal T takes a quarter of the time of all eigenvectors, and a few
eigenvectors of T take little more. Cosines between an eigenvector Q s of G and any vector v are
s.T (Q.T v): vectors that are only compared need not be rotated back.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import fortran
from mlx_probe.core.errors import SpectrumError
from mlx_probe.core.scaling import unit_exponent

__all__ = ["Tridiagonal", "reduction_bytes"]

Matrix = NDArray[np.float64]

# Columns of LAPACK's panels, and what its routines need beside them.
_PANEL = 64


class Tridiagonal:
    """A symmetric matrix as Q T Q.T (LAPACK sytrd), with eigenvectors of T on demand.

    Where the library lacks the routines, T is the diagonal of all eigenvalues (numpy.linalg.eigh).

    Args:
        matrix: A Gram matrix, shape (M, M), C order, upper triangle, finite; destroyed.

    Raises:
        SpectrumError: The eigen-solver did not converge.
    """

    def __init__(self, matrix: Matrix) -> None:
        self._size = len(matrix)
        # Bisection squares the elements of T.
        self._exponent = unit_exponent(float(np.diagonal(matrix).max()))
        if self._exponent:
            np.ldexp(matrix, -self._exponent, out=matrix)
        self._all: tuple[Matrix, Matrix] | None = None
        # LAPACK's reductions have nothing to do for an order of 1.
        self._reflectors = matrix if fortran.is_available() and self._size > 1 else None
        if self._reflectors is None:
            self._basis = self._solve_whole(matrix)
            return
        n = self._size
        self._diagonal, self._off = np.empty(n), np.empty(n)
        self._scales, info = np.empty(n), fortran.Info()
        work = np.empty(_PANEL * n)
        fortran.call(
            *("dsytrd", "L", n, matrix, n, self._diagonal, self._off, self._scales),
            *(work, work.size, info),
        )

    def leading(self, count: int) -> tuple[Matrix, Matrix]:
        """Largest eigenvalues, and eigenvectors in the basis Q.

        Bisection and inverse iteration (LAPACK stebz, stein).

        Args:
            count: How many, from 1 to M.

        Returns:
            Values, descending, shape (count,); vectors as rows, shape (count, M).

        Raises:
            SpectrumError: LAPACK did not converge.
        """
        if self._all is not None or self._reflectors is None:
            values, vectors = self.all()
            return values[:count], vectors[:count]
        n = self._size
        found, blocks, info = fortran.Info(), fortran.Info(), fortran.Info()
        values, vectors = np.empty(n), np.empty((count, n))
        block, ends = np.zeros(n, np.int64), np.zeros(n, np.int64)
        work, integers = np.empty(5 * n), np.zeros(3 * n, np.int64)
        none = ctypes.c_double(0.0)
        fortran.call(
            *("dstebz", "I", "B", n, none, none, n - count + 1, n, none),
            *(self._diagonal, self._off, found, blocks, values, block, ends, work, integers, info),
        )
        if not info.code and found.code == count:
            failed = np.zeros(n, np.int64)
            fortran.call(
                *("dstein", n, self._diagonal, self._off, count, values, block, ends),
                *(vectors, n, work, integers, failed, info),
            )
        if info.code or found.code != count:
            # Inverse iteration gives up on a vector once in a while; the other solver does not.
            values, vectors = self.all()
            return values[:count], vectors[:count]
        # By diagonal block, and ascending within each.
        order = np.argsort(-values[:count], kind="stable")
        return np.ldexp(values[order], self._exponent), vectors[order]

    def all(self) -> tuple[Matrix, Matrix]:
        """All eigenvalues and eigenvectors, as `leading` gives them.

        Divide and conquer on T (LAPACK stedc).

        Raises:
            SpectrumError: LAPACK did not converge.
        """
        if self._all is not None:
            return self._all
        n = self._size
        values, off = self._diagonal.copy(), self._off.copy()
        vectors, info = np.empty((n, n)), fortran.Info()
        work, integers = np.empty(n * n + 4 * n + 1), np.zeros(5 * n + 3, np.int64)
        fortran.call(
            *("dstedc", "I", n, values, off, vectors, n),
            *(work, work.size, integers, integers.size, info),
        )
        if info.code:
            raise _did_not_converge("stedc")
        self._all = np.ldexp(values[::-1], self._exponent), vectors[::-1]
        return self._all

    def to_basis(self, v: Matrix) -> Matrix:
        """Q.T v.

        Args:
            v: Shape (M, k).
        """
        return self._rotated(v, "T")

    def from_basis(self, v: Matrix) -> Matrix:
        """Q v.

        Args:
            v: Shape (M, k).
        """
        return self._rotated(v, "N")

    def _rotated(self, v: Matrix, way: str) -> Matrix:
        """LAPACK ormtr."""
        if self._reflectors is None:
            return np.asarray((self._basis.T if way == "T" else self._basis) @ v)
        n, count = v.shape
        columns = np.array(v.T, order="C")
        work, info = np.empty(_PANEL * (count + _PANEL + 1)), fortran.Info()
        fortran.call(
            *("dormtr", "L", "L", way, n, count, self._reflectors, n, self._scales),
            *(columns, n, work, work.size, info),
        )
        return np.asarray(columns.T)

    def _solve_whole(self, matrix: Matrix) -> Matrix:
        try:
            values, vectors = np.linalg.eigh(matrix, UPLO="U")
        except np.linalg.LinAlgError as error:
            raise _did_not_converge("syevd") from error
        self._all = np.ldexp(values[::-1], self._exponent), np.eye(self._size)
        return np.asarray(vectors[:, ::-1])


def reduction_bytes(size: int, vectors: int) -> int:
    """Bytes that a matrix of an order and its `Tridiagonal` take at most.

    Args:
        size: Order of the matrix.
        vectors: Eigenvectors that are asked for at once; the order for all.
    """
    if not fortran.is_available():
        # The matrix, the eigen-solver's copy, its vectors and a workspace of two more.
        return 8 * size * (6 * size + 16)
    # Divide and conquer has a workspace as large as its vectors.
    columns = 2 * size if vectors >= size else vectors
    return 8 * size * (size + columns + 2 * _PANEL + 16)


def _did_not_converge(routine: str) -> SpectrumError:
    return SpectrumError(
        f"LAPACK {routine} did not converge", "Report the tensor; its other columns are valid"
    )
