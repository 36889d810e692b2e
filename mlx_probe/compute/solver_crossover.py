"""Which eigen-solver is the fastest on this machine, by the size of the matrix.

LAPACK's syevd reduces a symmetric matrix to a tridiagonal one at once; half of that work is
products with a vector, which read the whole matrix each time. syevd_2stage reduces it to a band
first, by matrix products, with more arithmetic in all. The compiled solver does so too, in tiles.
Which one is faster depends on the caches, and on the library: it is measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from mlx_probe.compute import lapack
from mlx_probe.compute.native import eigen

__all__ = ["SMALLEST_TWO_STAGE", "EigenSolvers", "SolverTimes", "crossover", "lapack_from", "race"]

# Short sides at which both solvers are timed. The ratio of their times bends down where matrices
# outgrow the caches, so that small matrices do not predict it.
SMALLEST_TWO_STAGE = 1024
SIDES = (SMALLEST_TWO_STAGE, 1792, 2304, 2816, 3584, 4608)

# Seconds for all sides, bytes that the matrices of one side may take together, and how often a
# side is timed.
SECONDS, MEMORY, ROUNDS = 3.0, 1 << 28, 3

# The time grows with this power of the side where matrices outgrow the caches.
GROWTH = 3.3

# A crossing farther than this factor above the largest side is a guess.
REACH = 4.0


@dataclass(frozen=True)
class EigenSolvers:
    """Which eigen-solver a matrix is given, by its order.

    Attributes:
        two_stage_from: Order from which LAPACK's two-stage solver is faster than its one-stage
            solver; None for never.
        lapack_from: Order from which LAPACK is faster than the compiled solver; None for never.
    """

    two_stage_from: int | None = None
    lapack_from: int | None = None

    def of_order(self, size: int) -> lapack.Solver:
        """The solver for a matrix of an order."""
        if eigen.is_available(size) and not _reaches(size, self.lapack_from):
            return "native"
        return "two_stage" if _reaches(size, self.two_stage_from) else "one_stage"

    @property
    def settings(self) -> dict[str, int | bool | None]:
        """What decides which solver a matrix is given, for fingerprints."""
        return {
            "two_stage_from": self.two_stage_from,
            "lapack_from": self.lapack_from,
            "native": eigen.is_available(),
        }


def _reaches(size: int, limit: int | None) -> bool:
    return limit is not None and size >= limit


@dataclass(frozen=True)
class SolverTimes:
    """Median times of a matrix, with all cores at work on one matrix each.

    Attributes:
        side: Rows of the matrices.
        one_stage: Seconds of LAPACK syevd.
        two_stage: Seconds of LAPACK syevd_2stage.
        native: Seconds of the compiled solver; None where it cannot be called.
    """

    side: int
    one_stage: float
    two_stage: float
    native: float | None = None

    @property
    def best(self) -> float:
        """Seconds of the fastest one."""
        lapack_best = min(self.one_stage, self.two_stage)
        return lapack_best if self.native is None else min(lapack_best, self.native)


def race(cores: int) -> list[SolverTimes]:
    """Time all solvers on growing matrices, until the two-stage one wins or the time is used up.

    A disturbance of one solver can look like a victory of the other: it must hold for the
    fastest times of `ROUNDS` rounds, as far as there is time for them.

    Args:
        cores: Matrices to solve at once, each with one BLAS thread; fewer where memory forbids.
    """
    began = time.perf_counter()
    times: list[SolverTimes] = []
    with ThreadPoolExecutor(cores) as executor:
        for side in SIDES:
            if times and not _in_time(side, times[-1], began):
                break
            matrix = np.random.default_rng(0).standard_normal((side, side))
            # One matrix on each core, as in a run: they share the caches and the memory.
            matrices = [matrix] * max(1, min(cores, MEMORY // matrix.nbytes))
            solvers = [s for s in lapack.SOLVERS if s != "native" or eigen.is_available(side)]
            fastest: dict[str, float] = dict.fromkeys(solvers, math.inf)
            for _ in range(ROUNDS):
                for solver in solvers:
                    seconds = median(executor.map(partial(_seconds, solver=solver), matrices))
                    fastest[solver] = min(fastest[solver], seconds)
                best = SolverTimes(side, **fastest)
                won = best.two_stage < best.one_stage
                if not won or not _in_time(side, best, began):
                    break
            times.append(best)
            if won:
                break
    return times


def _seconds(matrix: lapack.Matrix, solver: lapack.Solver) -> float:
    copy, clock = matrix.copy(), time.perf_counter()
    lapack.eigenvalues(copy, solver)
    return time.perf_counter() - clock


def _in_time(side: int, last: SolverTimes, began: float) -> bool:
    """Whether a side can be expected to be timed in time, from the side before."""
    growth: float = (side / last.side) ** GROWTH
    expected = (last.one_stage + last.two_stage + (last.native or 0.0)) * growth
    return time.perf_counter() - began + expected <= SECONDS


def lapack_from(times: Sequence[SolverTimes]) -> int | None:
    """Smallest timed side from which LAPACK is faster than the compiled solver at all sides.

    Args:
        times: By ascending side.

    Returns:
        None if the compiled solver wins at the largest side, and where it was not timed.
    """
    first = None
    for each in reversed(times):
        if each.native is None or each.native <= min(each.one_stage, each.two_stage):
            break
        first = each.side
    return first


def crossover(times: Sequence[SolverTimes]) -> int | None:
    """Smallest side at which the two-stage solver is the faster one.

    The logarithm of the ratio of the times is taken as linear in the logarithm of the side:
    between the two sides where it changes its sign, or else beyond the largest side with the
    slope of the last piece. That slope is at least as steep as the one over all sides: the
    ratio falls ever faster, and a slower fall is noise.

    Args:
        times: By ascending side.

    Returns:
        None if the ratio does not fall, if it would reach 1 only beyond `REACH` times the
        largest side, and if nothing was timed.
    """
    points = [(math.log(t.side), math.log(t.two_stage / t.one_stage)) for t in times]
    won = next((i for i, (_, ratio) in enumerate(points) if ratio <= 0), None)
    if won == 0:
        return times[0].side
    if won is None and len(points) < 2:
        return None
    near = points[won - 1] if won else points[-1]
    if won:
        slope = _slope(near, points[won])
    else:
        slope = min(_slope(points[-2], near), _slope(points[0], near))
    if slope >= 0:
        return None
    side = math.exp(min(near[0] - near[1] / slope, 50.0))
    return round(side) if side <= REACH * times[-1].side else None


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
