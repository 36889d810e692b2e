"""The speed of this machine, measured once and kept: its rates, and the fastest eigen-solver.

Figures of another machine would mislead. Caches, cores and libraries decide whether memory or
arithmetic limits a run, and which eigen-solver is the fastest for which size.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mlx_probe.compute import lapack
from mlx_probe.compute.native import eigen
from mlx_probe.compute.solver_crossover import (
    SMALLEST_TWO_STAGE,
    EigenSolvers,
    SolverTimes,
    crossover,
    lapack_from,
    race,
)
from mlx_probe.core.machine import blas_library, cpu_model, usable_cores
from mlx_probe.core.paths import cache_dir, keep_json

__all__ = [
    "SMALLEST_TWO_STAGE",
    "Calibration",
    "calibration_file",
    "eigen_solvers",
    "load_calibration",
    "this_machine",
]

# Version of the kept file; one of another version is ignored.
FORMAT = 3

# Bytes to copy, more than the caches hold, and the side of the matrices to multiply. Each takes a
# twentieth of a second.
COPIED, PRODUCT_SIDE, REPEATS = 1 << 26, 512, 5


@dataclass(frozen=True)
class Calibration:
    """The measured speed of a machine.

    Attributes:
        machine: What the figures depend on.
        copy_bandwidth: Bytes that one core copies in a second, memory to memory; None if not
            measured.
        product_rate: Flops in a second of a float64 matrix product on one core, by BLAS or the
            compiled kernels; None if not measured.
        solver_times: Times of the eigen-solvers, by side; empty if not measured.
    """

    machine: Mapping[str, str | int]
    copy_bandwidth: float | None = None
    product_rate: float | None = None
    solver_times: tuple[SolverTimes, ...] = ()

    @property
    def two_stage_from(self) -> int | None:
        """Smallest short side at which the two-stage solver wins; None for never."""
        return crossover(self.solver_times)

    @property
    def lapack_from(self) -> int | None:
        """Smallest short side at which LAPACK beats the compiled solver; None for never."""
        return lapack_from(self.solver_times)

    def describe(self) -> dict[str, Any]:
        """All figures, for JSON."""
        limits = {"two_stage_from": self.two_stage_from, "lapack_from": self.lapack_from}
        return {**asdict(self), **limits}


# Of this process. Without it, a cache that cannot be written would cost a measurement each time.
_known: dict[str, Calibration] = {}


def eigen_solvers() -> EigenSolvers:
    """Which eigen-solver wins here. It takes about three seconds, once for a machine."""
    known = load_calibration(solvers=True)
    return EigenSolvers(known.two_stage_from, known.lapack_from)


def load_calibration(rates: bool = False, solvers: bool = False) -> Calibration:
    """The figures of this machine from the cache; missing ones are measured if they are needed.

    Args:
        rates: Whether the copy bandwidth and the product rate are needed: 0.2 s.
        solvers: Whether the times of the eigen-solvers are needed: about 3 s.
    """
    machine = this_machine()
    path = calibration_file(machine)
    key = path.stem
    known = _known.get(key) or _read(path, machine) or Calibration(machine)
    rates = rates and None in (known.copy_bandwidth, known.product_rate)
    solvers = solvers and not known.solver_times and lapack.has_two_stage()
    if rates or solvers:
        new = _measure_apart(rates, solvers)
        if rates:
            known = replace(known, copy_bandwidth=new.copy_bandwidth, product_rate=new.product_rate)
        if solvers:
            known = replace(known, solver_times=new.solver_times)
        keep_json(path, asdict(known))
    _known[key] = known
    return known


def measure(rates: bool, solvers: bool) -> Calibration:
    """Measure in this process; arguments as for `load_calibration`."""
    calibration = Calibration(this_machine())
    with threadpool_limits(1, user_api="blas"):
        if rates:
            copied, multiplied = _copy_bandwidth(), _product_rate()
            calibration = replace(calibration, copy_bandwidth=copied, product_rate=multiplied)
        if solvers:
            calibration = replace(calibration, solver_times=tuple(race(usable_cores())))
    return calibration


def _measure_apart(rates: bool, solvers: bool) -> Calibration:
    """Measure in a process of its own: the memory limit of a run leaves no room for it."""
    program = (
        "import json; from dataclasses import asdict; "
        "from mlx_probe.compute.calibration import measure; "
        f"print(json.dumps(asdict(measure({rates}, {solvers}))))"
    )
    try:
        child = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        calibration = _calibration(json.loads(child.stdout), this_machine())
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        calibration = None
    return calibration or measure(rates, solvers)


def calibration_file(machine: Mapping[str, str | int], prefix: str = "") -> Path:
    """The file that keeps figures of a machine.

    Args:
        machine: What the figures depend on.
        prefix: Start of the file's name, one for each kind of figures.
    """
    key = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]
    return cache_dir() / "calibration" / f"{prefix}{key}.json"


def this_machine() -> dict[str, str | int]:
    """What figures of this machine depend on."""
    return {
        "format": FORMAT,
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "numpy": np.__version__,
        "blas": blas_library(),
        "native": eigen.is_available(),
    }


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of several times: other work on the machine can only slow it."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _copy_bandwidth() -> float:
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    return COPIED / _fastest(lambda: np.copyto(target, source))


def _product_rate() -> float:
    """The faster of numpy's product and the Gram product that an analysis uses."""
    a = np.ones((PRODUCT_SIDE, PRODUCT_SIDE))
    b, product = 2 * a, np.empty_like(a)
    whole = _fastest(lambda: np.matmul(a, b, out=product))
    half = _fastest(lambda: lapack.add_gram(product, a))
    return max(2 * PRODUCT_SIDE**3 / whole, PRODUCT_SIDE**2 * (PRODUCT_SIDE + 1) / half)


def _read(path: Path, machine: Mapping[str, str | int]) -> Calibration | None:
    """The kept figures; None if there are none, or not valid ones."""
    try:
        return _calibration(json.loads(path.read_text("utf-8")), machine)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _calibration(entry: Any, machine: Mapping[str, str | int]) -> Calibration | None:
    """A calibration from its JSON; None if it is another machine's or not valid.

    Raises:
        KeyError, TypeError: It is not the JSON of a calibration.
    """
    times = tuple(SolverTimes(**race) for race in entry["solver_times"])
    rates = (entry["copy_bandwidth"], entry["product_rate"])
    figures = [rate for rate in rates if rate is not None]
    figures += [x for t in times for x in (t.side, t.one_stage, t.two_stage, t.best)]
    if entry["machine"] != machine or not all(0 < x < math.inf for x in figures):
        return None
    return Calibration(machine, *rates, times)
