"""All eigenvalues of a symmetric matrix: the compiled solver against LAPACK, time and error.

    python benchmarks/eigenvalues.py [--sizes N,N] [--runs N] [--exact-sizes N,N]

Gram matrices of Gaussian weights. Solvers take turns; figures are medians of processor time, of
one thread; with two threads, of wall time, for a machine that does nothing else. LAPACK's are its
drivers syevd and syevd_2stage in numpy's library; the fallback is what the product computes where
no kernel is compiled, syevd or its certified parts. Ratios are medians over the rounds of the
best LAPACK driver's time over the compiled solver's.

Errors are against long double, for sampled eigenvalues (both ends, quartiles, and the one where
the solvers differ most): Rayleigh quotients of vectors from inverse iteration. With --exact-sizes
the errors alone are taken at those sizes, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import numpy as np
from _results import Cell, out_option, publish, rounded
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.compute import fortran, lapack, native
from mlx_probe.compute.cores import threads

Matrix = NDArray[np.float64]
Solve = Callable[[Matrix], Matrix]

EPS = float(np.finfo(np.float64).eps)
DRIVERS = ("dsyevd", "dsyevd_2stage")
# With two threads the smaller orders have nothing to divide.
TWO_THREADS_FROM = 1024
# Steps of inverse iteration; each multiplies the error of the vector by its share of the gap.
STEPS = 4
# Rows of a product in long double at a time.
ROWS = 64
COLUMNS = (
    *("order", "compiled, ms", "fallback, ms", "dsyevd, ms", "dsyevd_2stage, ms", "ratio"),
    *("two threads: compiled, ms", "best of LAPACK, ms", "ratio with two threads"),
    *("error of compiled, eps", "of fallback", "of dsyevd", "of dsyevd_2stage"),
)


def driver(routine: str) -> Solve:
    """LAPACK's own way to all eigenvalues."""

    def solve(matrix: Matrix) -> Matrix:
        n, values, info = len(matrix), np.empty(len(matrix)), fortran.Info()
        best, integers = np.empty(1), np.zeros(1, np.int64)
        head = ("N", "L", n, matrix, n, values)
        fortran.call(routine, *head, best, -1, integers, -1, info)
        work, integers = np.empty(int(best[0])), np.zeros(max(int(integers[0]), 1), np.int64)
        fortran.call(routine, *head, work, work.size, integers, integers.size, info)
        return values

    return solve


def fallback(matrix: Matrix) -> Matrix:
    """What is computed without kernels; both LAPACK reductions have the same error."""
    with native.without():
        return lapack.eigenvalues(matrix)


SOLVERS: dict[str, Solve] = {
    "compiled": lambda matrix: lapack.eigenvalues(matrix, "native"),
    "fallback": fallback,
    **{routine: driver(routine) for routine in DRIVERS},
}


def gram_matrix(n: int) -> Matrix:
    """Of a Gaussian weight, both triangles."""
    x = np.random.default_rng(0).standard_normal((n + n // 2, n))
    return np.asarray(x.T @ x)


def turns(matrix: Matrix, runs: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each solver in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in SOLVERS}
    for _ in range(runs):
        for name, solve in SOLVERS.items():
            copy, began = matrix.copy(), clock()
            solve(copy)
            seconds[name].append(clock() - began)
    return seconds


def ratio(seconds: dict[str, list[float]]) -> float:
    """The best LAPACK driver's time over the compiled solver's, median over the rounds."""
    drivers = [seconds[routine] for routine in DRIVERS]
    rounds = zip(seconds["compiled"], *drivers, strict=True)
    return float(median(min(others) / own for own, *others in rounds))


def timed(matrix: Matrix, runs: int) -> list[Cell]:
    """Cells of the times and ratios."""
    with threadpool_limits(1, user_api="blas"):
        one = turns(matrix, runs, time.thread_time)
    cells: list[Cell] = [rounded(1e3 * median(one[name])) for name in SOLVERS]
    cells.append(rounded(ratio(one)))
    if len(matrix) < TWO_THREADS_FROM:
        return [*cells, None, None, None]
    two: dict[str, list[float]] = {name: [] for name in SOLVERS}
    for _ in range(runs):
        for name, solve in SOLVERS.items():
            # The compiled solver's threads are its own, each with one of BLAS.
            with threads(2), threadpool_limits(1 if name == "compiled" else 2, user_api="blas"):
                copy, began = matrix.copy(), time.perf_counter()
                solve(copy)
                two[name].append(time.perf_counter() - began)
    best = min(median(two[routine]) for routine in DRIVERS)
    return [*cells, *(rounded(x) for x in (1e3 * median(two["compiled"]), 1e3 * best, ratio(two)))]


def exact(matrix: Matrix, value: float, rng: np.random.Generator) -> np.longdouble:
    """The eigenvalue next to a value, in long double."""
    n = len(matrix)
    shifted = matrix - value * (1 + 1e-10) * np.eye(n)
    inverse_times = np.linalg.inv(shifted)
    v = rng.standard_normal(n)
    for _ in range(STEPS):
        v = inverse_times @ v
        v /= np.linalg.norm(v)
    wide = v.astype(np.longdouble)
    slabs = (slice(i, i + ROWS) for i in range(0, n, ROWS))
    product = np.concatenate([matrix[rows].astype(np.longdouble) @ wide for rows in slabs])
    quotient: np.longdouble = (wide @ product) / (wide @ wide)
    return quotient


def errors(matrix: Matrix) -> list[Cell]:
    """Largest error of each solver at the sampled eigenvalues, in eps of the largest one."""
    with threadpool_limits(1, user_api="blas"):
        values = {name: solve(matrix.copy()) for name, solve in SOLVERS.items()}
    own, n, rng = values["compiled"], len(matrix), np.random.default_rng(1)
    sampled = {0, n // 4, n // 2, 3 * n // 4, n - 2, n - 1}
    sampled |= {int(np.abs(other - own).argmax()) for other in values.values()}
    worst = dict.fromkeys(values, 0.0)
    for k in sorted(sampled):
        reference = exact(matrix, float(own[k]), rng)
        for name, each in values.items():
            off = abs(float(each[k] - reference)) / (EPS * own[-1])
            worst[name] = max(worst[name], off)
    return [rounded(off) for off in worst.values()]


def numbers(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    """Numbers from a list with commas."""
    return tuple(int(part) for part in text.split(",") if part)


@click.command(help=__doc__)
@click.option("--sizes", default="192,576,1024,2048,4096", callback=numbers, show_default=True)
@click.option("--runs", default=5, show_default=True, help="Rounds of each order.")
@click.option("--exact-sizes", default="", callback=numbers, help="8192,16384: minutes and hours.")
@out_option
def main(sizes: tuple[int, ...], runs: int, exact_sizes: tuple[int, ...], out: Path) -> None:
    if native.library("eigen") is None:
        raise click.ClickException("The eigen-solver is not compiled: mlx-probe doctor says why")
    rows: list[list[Cell]] = []
    for n in sizes:
        matrix = gram_matrix(n)
        rows.append([n, *timed(matrix, max(runs, min(100, 20_000 // n))), *errors(matrix)])
    for n in exact_sizes:
        rows.append([n, *[None] * (len(COLUMNS) - 5), *errors(gram_matrix(n))])
    note = (
        "Medians of processor time, of wall time with two threads; ratios to the best LAPACK "
        "driver. Errors at sampled eigenvalues in eps of the largest one, against long double."
    )
    publish("eigenvalues", COLUMNS, rows, note, out)


if __name__ == "__main__":
    main()
