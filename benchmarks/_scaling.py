"""What the stages of a matrix take by its size, on one core: measured, and fitted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median

import numpy as np
from _checkpoints import to_bfloat16
from _processes import seconds_of
from numpy.typing import NDArray

from mlx_probe.checkpoint import chunk_extent
from mlx_probe.compute import lapack, native
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.native import eigen

__all__ = ["SOLVERS", "Cost", "fit", "gaussian", "measure"]

SOLVERS: tuple[lapack.Solver, ...] = ("native", "one_stage", "two_stage")


@dataclass(frozen=True)
class Cost:
    """Seconds on one core.

    Attributes:
        element: Of reading an element, and of its moments.
        flop: Of a flop of the Gram matrix, long * short * (short + 1).
        solvers: Factors of n**2 and n**3, by solver.
    """

    element: float
    flop: float
    solvers: Mapping[str, NDArray[np.float64]]

    def solve(self, side: int) -> float:
        """Seconds of the fastest solver."""
        powers = np.array([side**2, side**3], float)
        return float(min(powers @ factors for factors in self.solvers.values()))

    def square(self, side: int) -> float:
        """Seconds of all stages of a square matrix."""
        return side**2 * self.element + side**2 * (side + 1) * self.flop + self.solve(side)


def gaussian(rows: int, cols: int) -> NDArray[np.uint16]:
    """Words of bfloat16."""
    return to_bfloat16(0.02 * np.random.default_rng(0).standard_normal((rows, cols), np.float32))


def measure(
    side: int, runs: int, solvers: Sequence[lapack.Solver] = SOLVERS, plain: bool = True
) -> dict[str, float]:
    """Median seconds of every stage for a square matrix.

    Args:
        side: Its side.
        runs: How often each is timed.
        solvers: The eigen-solvers to time.
        plain: Whether to time the passes without compiled kernels, too.
    """
    words = gaussian(side, side)
    took: dict[str, list[float]] = {}
    for _ in range(runs):
        for suffix in ("", " without") if plain and native.used() else ("",):
            with native.without() if suffix else nullcontext():
                elements, products, matrix = passes(words)
            took.setdefault(f"elements{suffix}", []).append(elements)
            took.setdefault("gram", []).append(products)
        for name in solvers:
            if name != "native" or eigen.is_available(side):
                copy = matrix.copy()
                spent = seconds_of(lambda c=copy, s=name: lapack.eigenvalues(c, s))  # type: ignore[misc]
                took.setdefault(name, []).append(spent)
    return {name: median(each) for name, each in took.items()}


def passes(words: NDArray[np.uint16]) -> tuple[float, float, NDArray[np.float64]]:
    """Seconds of the elements and of the Gram matrix, chunk by chunk as in a run; the matrix."""
    backend, side = NumpyBackend(), len(words)
    sums, gram = backend.element_pass("BF16", 1e-8), backend.gram_pass(side, side, "BF16")
    began, products = time.perf_counter(), 0.0
    for first in range(0, side, chunk_extent(side)):
        chunk = backend.load(words[first : first + chunk_extent(side)], "BF16")
        for part in backend.parts(chunk, side, side):
            sums.add(part)
            products += seconds_of(lambda p=part: gram.add(p))  # type: ignore[misc]
    sums.finish()
    elements = time.perf_counter() - began - products
    return elements, products, gram.finish().matrix


def fit(measured: Mapping[int, Mapping[str, float]], kernels: bool) -> Cost:
    """Factors that leave the least relative errors, with compiled kernels or without."""
    sides = np.array(list(measured), float)
    known = next(iter(measured.values()))

    def factors(name: str, *columns: NDArray[np.float64]) -> NDArray[np.float64]:
        times = np.array([each[name] for each in measured.values()])
        scaled = np.stack(columns, axis=1) / times[:, None]
        return np.asarray(np.linalg.lstsq(scaled, np.ones(len(times)), rcond=None)[0])

    elements = "elements" if kernels or "elements without" not in known else "elements without"
    solvers = [name for name in SOLVERS if name in known and (kernels or name != "native")]
    return Cost(
        element=float(factors(elements, sides**2)[0]),
        flop=float(factors("gram", sides**2 * (sides + 1))[0]),
        solvers={name: factors(name, sides**2, sides**3) for name in solvers},
    )
