"""Eigenvalues of symmetric matrices by the compiled solver (``kernels/eigen.c``)."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import fortran
from mlx_probe.compute.cores import width_address
from mlx_probe.compute.native import library
from mlx_probe.core.errors import SpectrumError

__all__ = ["SMALLEST", "eigenvalues", "is_available", "loaded", "own_work", "workspace"]

Matrix = NDArray[np.float64]

# Order from which the solver is used. Below it LAPACK takes as long, and its error is as small.
SMALLEST = 32

# Bytes of work that a thread keeps for its next matrix. New memory costs a quarter of the time of
# a small matrix, and nothing of a large one's.
_KEPT = 1 << 22

_own = threading.local()

_PROBLEMS = {1: "an element is not finite", 2: "it did not converge"}


def is_available(size: int = SMALLEST) -> bool:
    """Whether the solver can be called for matrices of an order.

    Args:
        size: Order of the matrix.
    """
    return size >= SMALLEST and loaded() is not None


def workspace(size: int) -> int:
    """Bytes of work that the solver takes beside a matrix of an order; 0 if it is not called."""
    solver = loaded()
    if solver is None or size < SMALLEST:
        return 0
    return 8 * int(solver.probe_eigen_work(ctypes.c_int64(size)))


def eigenvalues(matrix: Matrix) -> Matrix:
    """Eigenvalues of a symmetric matrix, ascending.

    The error is at most 8 eps of the largest magnitude where eigenvalues are apart, and at most
    1.25 sqrt(M) eps where half of them coincide: each of the M sweeps that chase the bulges
    rounds all elements of the band, and all that noise acts within one eigenspace.

    It uses the cores that the caller has now (`cores.width`), and looks at their number again at
    each step. The bits of the result do not depend on it.

    Args:
        matrix: Shape (M, M), float64, C order, upper triangle; destroyed.

    Returns:
        Shape (M,).

    Raises:
        SpectrumError: An element is not finite, or the iteration did not converge.
    """
    solver, n = loaded(), len(matrix)
    assert solver is not None
    work, values = own_work(workspace(n)), np.empty(n)
    code = solver.probe_eigenvalues(
        ctypes.c_int64(n),
        ctypes.c_void_p(matrix.ctypes.data),
        ctypes.c_void_p(work.ctypes.data),
        ctypes.c_void_p(width_address()),
        ctypes.c_void_p(values.ctypes.data),
    )
    if code:
        raise SpectrumError(
            f"The eigen-solver failed: {_PROBLEMS[code]}",
            "Report the tensor; its other columns are valid",
        )
    return values


def own_work(size: int) -> Matrix:
    """Memory of this thread, kept from matrix to matrix unless it is large.

    Args:
        size: Bytes, at least.
    """
    if size > _KEPT:
        return np.empty(size // 8)
    kept: Matrix | None = getattr(_own, "work", None)
    if kept is None or kept.nbytes < size:
        kept = _own.work = np.empty(size // 8)
    return kept


def loaded() -> ctypes.CDLL | None:
    """The library, ready to be called; None if it or the product that it calls is missing."""
    solver = library("eigen")
    if solver is None or not fortran.is_available():
        return None
    if not getattr(solver, "ready", False):
        solver.probe_eigen_work.restype = ctypes.c_int64
        solver.probe_gram_work.restype = ctypes.c_int64
        solver.probe_eigen_routines(fortran.address("dgemm"))
        solver.ready = True  # type: ignore[attr-defined]
    return solver
