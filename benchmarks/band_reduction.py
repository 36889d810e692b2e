"""The GPU's second route to singular values: reduction to a band in float32, against the first.

    python benchmarks/band_reduction.py [--side N] [--family NAME] [--runs N] [--band 32]
                                        [--blas LIBRARY]

The first route makes the Gram matrix on the GPU, exactly, and leaves its eigenvalues to the CPU.
The second one reduces the matrix itself to an upper band on the GPU (`_band.py`) and leaves to
the CPU

- the panels of 32 columns or rows;
- the band's singular values, in float64;
- the certificate: float32 is too coarse for ranks at 1e-6, which are counted by definiteness or
  inertia of the shifted Gram matrix (the exact one, which the GPU makes as well).

The benchmark compares what the routes leave to the CPU: seconds of one thread, medians of runs in
turn. What a GPU would do runs on MLX's default device and is counted, not timed. Errors are
against LAPACK gesdd in float64. MLX's Linux wheel has a slow BLAS: with ``--blas
libopenblas.so.0`` its CPU stream takes a faster one; the columns of times are not its work.

The compiled eigen-solver (`mlx_probe/compute/native/`) takes part in both routes: whole in the
first, its last two stages for the band in the second.

`band_reduction.md` holds runs and the verdict.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from _band import Account, Single, Values, band_solvers, band_values, library, to_band
from _checkpoints import to_bfloat16
from _m3_ultra import M3_ULTRA
from _results import Cell, out_option, publish, rounded
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.checkpoint import chunk_extent
from mlx_probe.compute import lapack
from mlx_probe.compute.backends import BACKENDS, Gram
from mlx_probe.compute.lapack import Solver
from mlx_probe.compute.spectrum import count_above
from mlx_probe.compute.spectrum.bounds import gram_eigenvalue_bound
from mlx_probe.compute.spectrum.rank import certified

Family = Callable[[np.random.Generator, int], Values]

RANK_TOL = 1e-6

# Of the band's singular values, relative to sigma_1: eight times the worst seen, and more.
FLOAT32_ERROR = 1e-5

# The last one's values are checked.
EIGENSOLVERS: dict[str, Solver] = {
    "syevd": "one_stage",
    "syevd_2stage": "two_stage",
    "native": "native",
}
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
        for name, solver in EIGENSOLVERS.items():
            lambdas = timed(name, lapack.eigenvalues, gram.matrix.copy(), solver)
        account = Account()
        rows = timed("reduction", to_band, elements, band, account)
        took.setdefault("panels", []).append(account.panels)
        for name in band_solvers(band):
            second = timed(f"band, {name}", band_values, rows, name)
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
    upper = to_bfloat16(words)
    return upper, (upper.astype(np.uint32) << 16).view(np.float32)


TIMES = (
    *("side", "family", *EIGENSOLVERS, "panels", "dispatch", "band", "certificate"),
    *("second route", "first / second"),
)
ERRORS = (
    *("side", "family", "error of the first", "error of the second"),
    *("exact rank", "first", "float32 alone", "certified"),
)
PREDICTIONS = (
    *("side", "family", "first: GPU", "first: solver", "first"),
    *("second: GPU", "second: solver", "waiting for panels", "overlapped"),
)
COUNTS = ("side", "of", "GFLOP", "GB moved by products", "waits")

Compared = dict[tuple[int, str], Comparison]


def times(compared: Compared) -> Iterator[tuple[Cell, ...]]:
    """Milliseconds of one thread, by part."""
    for (side, family), of in compared.items():
        part, panels = parts_of(of), 1e3 * of.seconds["panels"]
        second = part["reduction"] + part["band"] + part["certificate"]
        first = [1e3 * of.seconds[name] for name in EIGENSOLVERS]
        shown = [panels, part["reduction"] - panels, part["band"], part["certificate"], second]
        yield side, family, *map(rounded, (*first, *shown, min(first) / second))


def errors(compared: Compared) -> Iterator[tuple[Cell, ...]]:
    """Errors of the values, and ranks."""
    for (side, family), of in compared.items():
        ranks = ("open" if rank is None else rank for rank in of.ranks)
        yield side, family, *(rounded(error, 2) for error in of.errors), *ranks


def counts(compared: Compared) -> Iterator[tuple[Cell, ...]]:
    """What either route asks of a GPU."""
    for side, account in {side: of.account for (side, _), of in compared.items()}.items():
        slabs = -(-side // chunk_extent(side))
        for dtype, (products, transfers) in DIGITS.items():
            flops = 2e-9 * products * side**3
            yield side, f"Gram matrix, {dtype}", rounded(flops), None, slabs + transfers
        moved = rounded(account.nbytes / 1e9)
        yield side, "band", rounded(account.flops / 1e9), moved, account.round_trips


def parts_of(of: Comparison) -> dict[str, float]:
    """Milliseconds of one thread: the first route's best, and the second's parts."""
    ms = {part: 1e3 * each for part, each in of.seconds.items()}
    return {
        "first": min(ms[name] for name in EIGENSOLVERS),
        "reduction": ms["reduction"],
        "band": min(each for part, each in ms.items() if part.startswith("band, ")),
        "certificate": ms["certificate"],
    }


def predictions(compared: Compared) -> Iterator[tuple[Cell, ...]]:
    """Milliseconds a matrix on an M3 Ultra, by counting: whatever takes longest is the limit."""
    for (side, family), of in compared.items():
        products, _ = DIGITS[FAMILIES[family][0]]
        gram = 1e3 * 2 * products * side**3 / M3_ULTRA.products
        band = 1e3 * max(of.account.flops / M3_ULTRA.products, of.account.nbytes / M3_ULTRA.memory)
        part = parts_of(of)
        cores = M3_ULTRA.workers
        first = part["first"] / cores
        solver = (part["reduction"] + part["band"] + part["certificate"]) / cores
        waiting = max(gram + band + part["reduction"], solver)
        figures = (gram, first, max(gram, first), gram + band, solver, waiting)
        yield side, family, *map(rounded, (*figures, max(gram + band, solver)))


@click.command()
@click.option("--side", "sides", multiple=True, type=int, default=(512, 1024, 2048))
@click.option("--family", "families", multiple=True, type=click.Choice(list(FAMILIES)))
@click.option("--runs", default=3, show_default=True)
@click.option("--band", default=48, show_default=True, help="Superdiagonals; width of panels.")
@click.option("--blas", help="A library that MLX's CPU stream may take its products from.")
@out_option
def main(
    sides: tuple[int, ...],
    families: tuple[str, ...],
    runs: int,
    band: int,
    blas: str | None,
    out: Path,
) -> None:
    """Compare the routes on square matrices."""
    # Binds both routes to numpy's LAPACK, whatever is loaded from here on.
    library()
    lapack.has_two_stage()
    if blas is not None:
        ctypes.CDLL(blas, mode=ctypes.RTLD_GLOBAL)
    compared: Compared = {}
    with threadpool_limits(1, user_api="blas"):
        for side in sides:
            for family in families or FAMILIES:
                dtype, make = FAMILIES[family]
                words, exact = stored(dtype, make(np.random.default_rng(0), side))
                compared[side, family] = compare(dtype, words, exact, band, runs)
    note = f"CPU milliseconds of one thread, medians of {runs} runs in turn; panels of {band}."
    publish("band_reduction", TIMES, [*times(compared)], note, out)
    note = "Largest error over sigma_1; rank at 1e-6, open where the bounds do not decide it."
    publish("band_reduction_errors", ERRORS, [*errors(compared)], note, out)
    note = "Counted for a GPU; the certificate needs the Gram matrix as well."
    publish("band_reduction_counts", COUNTS, [*counts(compared)], note, out)
    note = (
        "Milliseconds a matrix on an M3 Ultra: a count, no measurement. Assumed: the GPU makes "
        f"{M3_ULTRA.products / 1e12:.0f} TFLOP/s and moves {M3_ULTRA.memory / 1e9:.0f} GB/s, "
        f"{M3_ULTRA.workers} workers solve, each as fast as a core of this machine. Waiting: the "
        "GPU works on one matrix and waits for each panel. Overlapped: it never waits."
    )
    publish("band_reduction_m3_ultra", PREDICTIONS, [*predictions(compared)], note, out)


if __name__ == "__main__":
    main()
