"""Every eigenvalue of matrices whose spectra are known: the error of each solver, at any order.

    python benchmarks/hard_spectra.py [--sizes N,N] [--spectrum NAME ...]

The matrices are dense and have chosen eigenvalues: a diagonal matrix between products of
Walsh-Hadamard matrices and random signs, which are orthogonal without any rounding. They are made
in long double, and rounded once to float64. Errors are the largest over all eigenvalues, in eps of
the largest one; the bound is the one that `spectrum_error` follows from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from _results import Cell, out_option, publish, rounded
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.compute import lapack, native
from mlx_probe.compute.spectrum.bounds import EPS, gram_eigenvalue_bound

Values = NDArray[np.longdouble]

# Solvers of `lapack.eigenvalues`; those of LAPACK as they are where nothing is compiled.
SOLVERS = {
    "compiled": "native",
    "fallback, syevd": "one_stage",
    "fallback, syevd_2stage": "two_stage",
}


def _ranks(n: int) -> Values:
    return np.arange(1, n + 1).astype(np.longdouble)


def _half(n: int, rest: float) -> Values:
    values = np.full(n, np.longdouble(rest))
    values[: n // 2] = 1
    return values


def _levels(n: int) -> Values:
    return np.longdouble(10) ** -np.floor(16 * (_ranks(n) - 1) / n)


def _noise(n: int) -> Values:
    """Eight eigenvalues above a flat floor at the square of the rank tolerance 1e-6."""
    values = np.longdouble(1e-12) * (1 + (_ranks(n) - 1) / n)
    values[:8] = 1 / _ranks(8)
    return values


# Order to eigenvalues, the largest of which is 1.
SPECTRA: dict[str, Callable[[int], Values]] = {
    "square Gaussian weight (arcsine law)": lambda n: np.cos(np.pi * (_ranks(n) - 1) / 2 / n) ** 2,
    "uniform": lambda n: _ranks(n) / n,
    "power law": lambda n: 1 / _ranks(n),
    "graded to 1e-16": lambda n: np.longdouble(10) ** (-16 * (_ranks(n) - 1) / (n - 1)),
    "equal pairs": lambda n: np.ceil(_ranks(n) / 2) / (n // 2),
    "sixteen levels to 1e-15": _levels,
    "low rank, and noise at 1e-12": _noise,
    "one outlier": lambda n: np.where(_ranks(n) == 1, 1, np.longdouble(1e-9)),
    "half at the largest, half at 0": lambda n: _half(n, 0.0),
    "half at the largest, half at a third": lambda n: _half(n, 1 / 3),
}


def transformed(a: Values) -> Values:
    """Walsh-Hadamard matrix times the rows of a matrix, in place; not normalized."""
    n, step = len(a), 1
    while step < n:
        halves = a.reshape(n // (2 * step), 2, step, -1)
        low, high = halves[:, 0], halves[:, 1]
        low += high
        high *= -2
        high += low
        step *= 2
    return a


def matrix_of(values: Values) -> NDArray[np.float64]:
    """A dense symmetric matrix with these eigenvalues; the order is a power of two."""
    n = len(values)
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.longdouble), n)
    order = np.random.default_rng(1).permutation(n)
    # Both sides of the diagonal: what the rows of one transform are, is symmetric.
    a = transformed(np.diag(values[order]))
    a = transformed(np.ascontiguousarray(a.T)) / n
    a *= signs[:, None] * signs
    a = transformed(a)
    a = transformed(np.ascontiguousarray(a.T)) / n
    narrow = a.astype(np.float64)
    return np.asarray((narrow + narrow.T) / 2)


def error(matrix: NDArray[np.float64], values: Values, solver: str) -> float:
    """Largest error of a solver, in eps of the largest eigenvalue."""
    copy = matrix.copy()
    with threadpool_limits(1, user_api="blas"):
        if solver == "native":
            computed = lapack.eigenvalues(copy, solver)
        else:
            with native.without():
                computed = lapack.eigenvalues(copy, solver)
    return float(np.abs(computed - np.sort(values)).max()) / EPS


@click.command(help=__doc__)
@click.option("--sizes", default="64,256,1024,4096", show_default=True, help="Powers of two.")
@click.option("--spectrum", "names", multiple=True, type=click.Choice(list(SPECTRA)))
@out_option
def main(sizes: str, names: tuple[str, ...], out: Path) -> None:
    if native.library("eigen") is None:
        raise click.ClickException("The eigen-solver is not compiled: mlx-probe doctor says why")
    rows: list[list[Cell]] = []
    outside = []
    for n in map(int, sizes.split(",")):
        bound = gram_eigenvalue_bound(1.0, n) / EPS
        for name in names or SPECTRA:
            values = SPECTRA[name](n)
            matrix = matrix_of(values)
            errors = [error(matrix, values, solver) for solver in SOLVERS.values()]
            rows.append([name, n, *map(rounded, errors), rounded(bound)])
            outside += [f"{name}, {n}"] if max(errors) > bound else []
            print(*rows[-1], sep=", ", flush=True)
    note = (
        "Largest error over all eigenvalues, in eps of the largest one. The matrix's own rounding "
        "to float64, at most about 1, is part of it."
    )
    publish("hard_spectra", ("eigenvalues", "order", *SOLVERS, "bound"), rows, note, out)
    if outside:
        raise click.ClickException(f"Outside of the bound: {'; '.join(outside)}")


if __name__ == "__main__":
    main()
