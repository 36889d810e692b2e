"""Reduction of a matrix to a band on the GPU, in float32, and the band's singular values.

By blocks of Householder reflections from both sides. No QR of MLX runs on a GPU, so that every
panel goes to the host, is factorized there (LAPACK sgeqrt3, which gives the compact WY form at
once) and goes back: a round trip each. Sources: Grosser and Lang 1999, "Efficient parallel
reduction to bidiagonal form", Parallel Computing 25; Schreiber and Van Loan 1989, "A
storage-efficient WY representation for products of Householder transformations", SIAM J. Sci.
Stat. Comput. 10.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

if TYPE_CHECKING:
    import mlx.core as mx

__all__ = [
    "Account",
    "Single",
    "Values",
    "band_solvers",
    "band_values",
    "library",
    "to_band",
]

Values = NDArray[np.float64]
Single = NDArray[np.float32]

# Bands of the compiled eigen-solver's last two stages.
NATIVE_BANDS = (16, 48)


@dataclass
class Account:
    """What a reduction asks of the GPU, and of the host meanwhile.

    Attributes:
        flops: Of the matrix products.
        nbytes: That the products read and write at least.
        round_trips: Panels that the GPU waits for.
        panels: Seconds of their factorization.
    """

    flops: float = 0.0
    nbytes: float = 0.0
    round_trips: int = 0
    panels: float = 0.0

    def product(self, a: mx.array, b: mx.array, subtract_from: mx.array | None = None) -> mx.array:
        """``a @ b``, or ``subtract_from - a @ b``."""
        import mlx.core as mx

        size = a.shape[0] * b.shape[1]
        self.flops += 2.0 * size * a.shape[1]
        self.nbytes += 4.0 * (a.size + b.size + size)
        if subtract_from is None:
            return a @ b
        self.nbytes += 4.0 * size
        return mx.addmm(subtract_from, a, b, alpha=-1.0)

    def factorize(self, panel: mx.array) -> tuple[mx.array, mx.array, Single]:
        """QR of a panel, on the host.

        Args:
            panel: The transposed panel, shape (k, m), m >= k.

        Returns:
            V, shape (m, k), and T, shape (k, k), of Q = I - V T V.T; and R, shape (k, k).
        """
        import mlx.core as mx

        k, m = panel.shape
        self.round_trips += 1
        # Rows of the transposed panel are columns of the panel, as LAPACK wants them.
        a, t = np.array(mx.contiguous(panel)), np.zeros((k, k), np.float32)
        began = time.thread_time()
        call("sgeqrt3", m, k, a, m, t, k)
        r = np.tril(a[:, :k]).T
        v = np.triu(a, 1)
        np.fill_diagonal(v, 1.0)
        self.panels += time.thread_time() - began
        return mx.array(v).T, mx.array(np.tril(t)).T, r


def to_band(matrix: mx.array, band: int, account: Account) -> Values:
    """Reduce a matrix to an upper band by orthogonal transformations in float32.

    Args:
        matrix: Shape (m, n), m >= n, float32.
        band: Superdiagonals that stay.
        account: Is added to.

    Returns:
        Diagonal and superdiagonals, shape (n, band + 1): element (i, k) is that of row i and
        column i + k.
    """
    n, first = matrix.shape[1], 0
    rows = np.zeros((n, band + 1))
    while first < n:
        # The odd block comes first, so that panels are never wider than they are long.
        width = (n - first) % band or band
        v, t, r = account.factorize(matrix[:, :width].T)
        strip = np.zeros((width, 2 * width))
        strip[:, :width] = r
        matrix = matrix[:, width:]
        if first + width < n:
            inner = account.product(t.T, account.product(v.T, matrix))
            matrix = account.product(v, inner, subtract_from=matrix)
            u, s, lower = account.factorize(matrix[:width])
            strip[:, width:] = lower.T
            matrix = matrix[width:]
            inner = account.product(account.product(matrix, u), s)
            matrix = account.product(inner, u.T, subtract_from=matrix)
        i, k = np.arange(width)[:, None], np.arange(width + 1)
        rows[first : first + width, : width + 1] = strip[i, i + k]
        first += width
    return rows


def band_solvers(band: int) -> tuple[str, ...]:
    """LAPACK's; then the compiled one, if it has this band and there is a compiler."""
    native = band in NATIVE_BANDS and shutil.which("cc") is not None
    return ("sbevd", "sbevd_2stage", *(("native",) if native else ()))


def band_values(rows: Values, solver: str) -> Values:
    """Singular values of an upper band, descending, in float64.

    Roots of the eigenvalues of ``B.T @ B``, a band as wide: in float64 its squares cost less
    accuracy than the reduction has lost already.

    Args:
        rows: As `to_band` returns them.
        solver: One of `band_solvers`.
    """
    n, width = rows.shape
    lead, height = width, n
    if solver == "native":
        # Room for the bulges that are chased, and zeros after the last column.
        lead = 2 * width - 1
        height = native().band_doubles(n, width - 1) // lead
    columns, values, none = np.zeros((height, lead)), np.empty(n), np.empty(1)
    for a in range(width):
        columns[a:n, : width - a] += rows[: n - a, a:] * rows[: n - a, a, None]
    if solver == "native":
        work = np.empty(native().band_work(n))
        arrays = (ctypes.c_void_p(each.ctypes.data) for each in (columns, work, values))
        if native().band_eigenvalues(n, width - 1, *arrays):
            raise SystemExit("The compiled solver did not converge")
        return np.sqrt(np.maximum(values[::-1], 0.0))
    shape = ("N", "L", n, width - 1, columns, width, values, none, 1)
    size, integers = np.empty(1), np.zeros(1, np.int64)
    call(f"d{solver}", *shape, size, -1, integers, -1)
    work, integers = np.empty(int(size[0])), np.zeros(max(1, int(integers[0])), np.int64)
    call(f"d{solver}", *shape, work, work.size, integers, integers.size)
    return np.sqrt(np.maximum(values[::-1], 0.0))


@cache
def native() -> ctypes.CDLL:
    """The compiled eigen-solver's last stages, compiled for this run."""
    source = Path(__file__).with_name("_band_native.c")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "band.so")
        flags = ("-std=c99", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
        command = ["cc", *flags, "-shared", "-fPIC", str(source), "-o", str(target), "-lm"]
        try:
            subprocess.run([*command, "-lpthread"], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"cc cannot compile {source}: {error}") from error
        compiled = ctypes.CDLL(str(target))
    for name in ("band_doubles", "band_work"):
        getattr(compiled, name).restype = ctypes.c_int64
        getattr(compiled, name).argtypes = [ctypes.c_int64] * (2 if name == "band_doubles" else 1)
    pointers = [ctypes.c_void_p] * 3
    compiled.band_eigenvalues.argtypes = [ctypes.c_int64, ctypes.c_int64, *pointers]
    return compiled


@cache
def library() -> ctypes.CDLL:
    """The OpenBLAS in numpy's wheel."""
    for info in threadpool_info():
        if info["prefix"] == "libscipy_openblas":
            return ctypes.CDLL(info["filepath"])
    raise SystemExit("This numpy has no OpenBLAS of its own: install its wheel for Linux")


def call(routine: str, *arguments: Any) -> None:
    """Call LAPACK by reference; ``info`` is added, and checked."""
    info = ctypes.c_int64(0)
    references: list[Any] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            references.append(ctypes.c_void_p(argument.ctypes.data))
        elif isinstance(argument, str):
            references.append(ctypes.c_char_p(argument.encode()))
        else:
            references.append(ctypes.byref(ctypes.c_int64(argument)))
    lengths = [ctypes.c_size_t(1) for argument in arguments if isinstance(argument, str)]
    getattr(library(), f"scipy_{routine}_64_")(*references, ctypes.byref(info), *lengths)
    if info.value:
        raise SystemExit(f"LAPACK {routine}: info {info.value}")
