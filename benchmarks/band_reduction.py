"""The GPU's second route to singular values: reduction to a band in float32, against the first.

    python benchmarks/band_reduction.py [--side N] [--family NAME] [--runs N] [--band 32]
                                        [--blas LIBRARY]

The first route makes the Gram matrix on the GPU, exactly, and leaves its eigenvalues to the CPU.
The second one reduces the matrix itself to an upper band on the GPU, by blocks of Householder
reflections from both sides in float32, and leaves to the CPU

- the panels: no QR of MLX runs on a GPU, so that every panel of 32 columns or rows goes to the
  host, is factorized there (LAPACK sgeqrt3, which gives the compact WY form at once) and goes
  back: a round trip each;
- the band's singular values, in float64;
- the certificate: float32 is too coarse for ranks at 1e-6, which are counted by definiteness or
  inertia of the shifted Gram matrix (the exact one, which the GPU makes as well).

Compared is what the routes leave to the CPU: seconds that one thread is charged with, medians of
runs in turn. What a GPU would do runs on MLX's default device and is counted, not timed. Errors
are against LAPACK gesdd in float64. MLX's Linux wheel has a slow BLAS: with ``--blas
libopenblas.so.0`` its CPU stream takes a faster one; the columns of times are not its work.

`band_reduction.md` holds a run and the verdict. Sources: Grosser and Lang 1999, "Efficient
parallel reduction to bidiagonal form", Parallel Computing 25; Schreiber and Van Loan 1989, "A
storage-efficient WY representation for products of Householder transformations", SIAM J. Sci.
Stat. Comput. 10.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from mlx_probe.checkpoint import chunk_extent
from mlx_probe.compute import lapack
from mlx_probe.compute.backends import BACKENDS, Gram
from mlx_probe.compute.spectrum import count_above
from mlx_probe.compute.spectrum.bounds import gram_eigenvalue_bound
from mlx_probe.compute.spectrum.rank import certified

if TYPE_CHECKING:
    import mlx.core as mx

Values = NDArray[np.float64]
Single = NDArray[np.float32]
Family = Callable[[np.random.Generator, int], Values]

RANK_TOL = 1e-6

# Of the band's singular values, relative to sigma_1: eight times the worst seen, and more.
FLOAT32_ERROR = 1e-5

EIGENSOLVERS = {"syevd": False, "syevd_2stage": True}
BAND_SOLVERS = ("sbevd", "sbevd_2stage")

# Products of digit matrices, and transfers of their sums to the host.
DIGITS = {"BF16": (6, 1), "F32": (10, 2)}


def gaussian(rng: np.random.Generator, n: int) -> Values:
    """Singular values up to about 1."""
    return np.asarray(rng.standard_normal((n, n)) / (2 * np.sqrt(n)))


def low_rank_and_noise(noise: float) -> Family:
    """Rank n / 8 with singular values up to about 1, and Gaussian noise up to ``noise``."""

    def make(rng: np.random.Generator, n: int) -> Values:
        k = n // 8
        low = rng.standard_normal((n, k)) @ rng.standard_normal((k, n))
        return np.asarray(low / (np.sqrt(n) + np.sqrt(k)) ** 2 + noise * gaussian(rng, n))

    return make


def of_spectrum(spectrum: Callable[[int], Values]) -> Family:
    """Given singular values and random singular vectors."""

    def make(rng: np.random.Generator, n: int) -> Values:
        left, right = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
        return np.asarray((left * spectrum(n)) @ right)

    return make


def log_decay(n: int) -> Values:
    return np.logspace(0, -9, n)


def cluster_at_the_tolerance(n: int) -> Values:
    """Half of them 1, half of them within a factor of e of 1e-6."""
    return np.append(np.ones(n // 2), 1e-6 * np.exp(np.linspace(-1, 1, n - n // 2)))


FAMILIES: dict[str, tuple[str, Family]] = {
    "Gaussian, bf16": ("BF16", gaussian),
    "low rank + 1e-4": ("F32", low_rank_and_noise(1e-4)),
    "low rank + 1e-6": ("F32", low_rank_and_noise(1e-6)),
    "log to 1e-9": ("F32", of_spectrum(log_decay)),
    "cluster at 1e-6": ("F32", of_spectrum(cluster_at_the_tolerance)),
}


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
        account: Is charged.

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


def band_values(rows: Values, solver: str) -> Values:
    """Singular values of an upper band, descending, in float64.

    Roots of the eigenvalues of ``B.T @ B``, a band as wide (LAPACK sbevd, sbevd_2stage): in
    float64 its squares cost less accuracy than the reduction has lost already.

    Args:
        rows: As `to_band` returns them.
        solver: One of `BAND_SOLVERS`.
    """
    n, width = rows.shape
    columns, values, none = np.zeros((n, width)), np.empty(n), np.empty(1)
    for a in range(width):
        columns[a:, : width - a] += rows[: n - a, a:] * rows[: n - a, a, None]
    shape = ("N", "L", n, width - 1, columns, width, values, none, 1)
    size, integers = np.empty(1), np.zeros(1, np.int64)
    call(f"d{solver}", *shape, size, -1, integers, -1)
    work, integers = np.empty(int(size[0])), np.zeros(max(1, int(integers[0])), np.int64)
    call(f"d{solver}", *shape, work, work.size, integers, integers.size)
    return np.sqrt(np.maximum(values[::-1], 0.0))


def certified_rank(gram: Gram, values: Values) -> int | None:
    """Count the singular values above the tolerance within the Gram matrix's error bound.

    As `mlx_probe.spectrum.count_rank` does it, for less: what sigma_1 is and whether to expect
    full rank is known to `FLOAT32_ERROR`.

    Args:
        gram: Exact Gram matrix; destroyed.
        values: Singular values from the band, descending.

    Returns:
        The rank, or None where it depends on the bounds.
    """
    matrix, shifts = gram.matrix, []
    for side in (-1, 1):
        sigma = float(values[0]) * (1 + side * FLOAT32_ERROR)
        t, solver = RANK_TOL * sigma, gram_eigenvalue_bound(sigma**2, len(matrix))
        shifts.append(t**2 + side * (solver + 2 * t * gram.omitted + gram.omitted**2))
    possibly, surely = shifts
    if possibly <= 0:
        return None
    diagonal = np.diag_indices_from(matrix)
    if values[-1] > RANK_TOL * values[0]:
        matrix[diagonal] -= surely
        return len(matrix) if lapack.is_positive_definite(matrix) else None
    copy = matrix.copy()
    copy[diagonal] -= surely
    matrix[diagonal] -= possibly
    rank = lapack.positive_count(copy)
    return rank if lapack.positive_count(matrix) == rank else None


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


@dataclass(frozen=True)
class Comparison:
    """One matrix by both routes.

    Attributes:
        seconds: CPU seconds of each part, medians.
        errors: Largest error over sigma_1 of the first route, and of the second.
        ranks: Exact; of the first route; of the band alone; of the certificate. None where the
            error bounds leave it open.
        account: Of one reduction.
    """

    seconds: dict[str, float]
    errors: tuple[float, float]
    ranks: tuple[int | None, ...]
    account: Account


def compare(dtype: str, words: NDArray[Any], exact: Single, band: int, runs: int) -> Comparison:
    """Take both routes in turn, then check them."""
    import mlx.core as mx

    took: dict[str, list[float]] = {}
    gram = exact_gram(dtype, words)
    elements = mx.array(exact)

    def timed(part: str, work: Callable[..., Any], *arguments: Any) -> Any:
        began = time.thread_time()
        result = work(*arguments)
        took.setdefault(part, []).append(time.thread_time() - began)
        return result

    for _ in range(runs):
        for name, two_stage in EIGENSOLVERS.items():
            lambdas = timed(name, lapack.eigenvalues, gram.matrix.copy(), two_stage)
        account = Account()
        rows = timed("reduction", to_band, elements, band, account)
        took.setdefault("panels", []).append(account.panels)
        for name in BAND_SOLVERS:
            second = timed(name, band_values, rows, name)
        copy = Gram(gram.matrix.copy(), gram.omitted)
        rank = timed("certificate", certified_rank, copy, second)
    reference = np.linalg.svd(exact.astype(np.float64), compute_uv=False)
    first = np.sqrt(np.maximum(lambdas[::-1], 0.0))
    decided = certified(lambdas, gram.omitted, [RANK_TOL * float(first[0])])

    def error(values: Values) -> float:
        return float(np.abs(values - reference).max() / reference[0])

    exact_rank, first_rank, band_rank = (
        count_above(values, RANK_TOL * float(values[0])) for values in (reference, first, second)
    )
    return Comparison(
        {part: median(each) for part, each in took.items()},
        (error(first), error(second)),
        (exact_rank, first_rank if decided else None, band_rank, rank),
        account,
    )


def exact_gram(dtype: str, words: NDArray[Any]) -> Gram:
    """The Gram matrix of a square matrix, by digits."""
    backend, n = BACKENDS["mlx"]("auto"), len(words)
    grams = backend.gram_pass(n, n, dtype)
    for first in range(0, n, chunk_extent(n)):
        grams.add(backend.load(words[first : first + chunk_extent(n)], dtype))
    return grams.finish()


def stored(dtype: str, x: Values) -> tuple[NDArray[Any], Single]:
    """Words as a file holds them, and their values."""
    words = x.astype(np.float32)
    if dtype == "F32":
        return words, words
    upper = (words.view(np.uint32) >> 16).astype(np.uint16)
    return upper, (upper.astype(np.uint32) << 16).view(np.float32)


def print_tables(compared: dict[tuple[int, str], Comparison]) -> None:
    print("CPU share, milliseconds:\n")
    print("| side | family | syevd | syevd_2stage | panels | dispatch | band |", end=" ")
    print(
        "certificate | second route | first / second |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for (side, family), of in compared.items():
        ms = {part: 1e3 * each for part, each in of.seconds.items()}
        band = min(ms[name] for name in BAND_SOLVERS)
        second = ms["reduction"] + band + ms["certificate"]
        parts = [ms[name] for name in EIGENSOLVERS]
        parts += [ms["panels"], ms["reduction"] - ms["panels"], band, ms["certificate"], second]
        cells = " | ".join(f"{part:.1f}" for part in parts)
        ratio = min(ms[name] for name in EIGENSOLVERS) / second
        print(f"| {side:,} | {family} | {cells} | {ratio:.2f} |")
    print("\nLargest error over sigma_1; rank at 1e-6 (- where the bounds leave it open):\n")
    print("| side | family | first | second | exact rank | first | float32 alone | certified |")
    print("|---|---|---|---|---|---|---|---|")
    for (side, family), of in compared.items():
        errors = " | ".join(f"{error:.1e}" for error in of.errors)
        ranks = " | ".join("-" if rank is None else f"{rank:,}" for rank in of.ranks)
        print(f"| {side:,} | {family} | {errors} | {ranks} |")
    print("\nCounted for a GPU; the certificate needs the Gram matrix as well:\n")
    print("| side | of | GFLOP | GB moved by products | waits |\n|---|---|---|---|---|")
    for side, account in {side: of.account for (side, _), of in compared.items()}.items():
        slabs = -(-side // chunk_extent(side))
        for dtype, (products, transfers) in DIGITS.items():
            flops = 2e-9 * products * side**3
            print(f"| {side:,} | Gram matrix, {dtype} | {flops:.1f} | | {slabs + transfers} |")
        cells = f"{account.flops / 1e9:.1f} | {account.nbytes / 1e9:.2f} | {account.round_trips}"
        print(f"| {side:,} | band | {cells} |")


@click.command()
@click.option("--side", "sides", multiple=True, type=int, default=(512, 1024, 2048))
@click.option("--family", "families", multiple=True, type=click.Choice(list(FAMILIES)))
@click.option("--runs", default=3, show_default=True)
@click.option("--band", default=32, show_default=True, help="Superdiagonals; width of panels.")
@click.option("--blas", help="A library that MLX's CPU stream may take its products from.")
def main(
    sides: tuple[int, ...], families: tuple[str, ...], runs: int, band: int, blas: str | None
) -> None:
    """Compare the routes on square matrices."""
    # Binds both routes to numpy's LAPACK, whatever is loaded from here on.
    library()
    lapack.has_two_stage()
    if blas is not None:
        ctypes.CDLL(blas, mode=ctypes.RTLD_GLOBAL)
    compared: dict[tuple[int, str], Comparison] = {}
    with threadpool_limits(1, user_api="blas"):
        for side in sides:
            for family in families or FAMILIES:
                dtype, make = FAMILIES[family]
                words, exact = stored(dtype, make(np.random.default_rng(0), side))
                compared[side, family] = compare(dtype, words, exact, band, runs)
    print(f"{date.today()}, {platform.processor() or platform.machine()}, numpy", end=" ")
    print(f"{np.__version__}, {os.cpu_count()} cores, one thread, median of {runs} runs,", end=" ")
    print(f"panels of {band}\n")
    print_tables(compared)


if __name__ == "__main__":
    main()
