"""Unit costs of a run on this machine: measured, and kept as rows of a result file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from _checkpoints import Shape, write_gaussian
from _processes import PROBE, run, seconds_of
from _results import Cell, rounded
from _scaling import SOLVERS, fit, measure
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.forecast.duration import steps_of
from mlx_probe.analysis.forecast.rates import Rates, completed
from mlx_probe.analysis.forecast.timing import metrics_curve
from mlx_probe.analysis.plan import Plan, make_plan
from mlx_probe.checkpoint import chunk_extent
from mlx_probe.compute import lapack
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.calibration import load_calibration
from mlx_probe.compute.native import eigen
from mlx_probe.core.machine import usable_cores

__all__ = ["COST_COLUMNS", "Costs", "cost_rows", "costs_from", "measure_costs", "seconds_of_run"]

COST_COLUMNS = ("cost", "of", "value", "unit")

# Sides of the fit, and sides at which its curve is kept; the curve is logarithmic between them.
SIDES = (512, 1024, 2048, 3072)
CURVE = (1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)

# Sides of matrices that all cores work on, and how often.
SHARED, TURNS = (512, 1024, 2048), 4

# Tensors of the shortest run that shows what a row costs.
FEW = 200


@dataclass(frozen=True)
class Costs:
    """What the steps of a run take, on one core while the others are idle.

    Attributes:
        rates: Of the steps of a weight.
        together: Speed of a core when all are busy, of that of one alone.
        lent: What a further core adds to the work on one matrix, in cores.
        interpreted: Share of the metrics' time in which no other thread runs Python.
        row: Seconds of the client's Python for a row while weights are measured.
        matrix: Seconds of a worker's Python for a matrix, whatever its size, beside its steps.
        row_after: Seconds for a row afterwards: validation, writing.
        opened: Seconds for a tensor whose header is read.
        start: Seconds of Python beside the first weights: imports, the plan.
        finish: Seconds after the last row, beside those of rows.
        operation: Seconds of Python for an operation that MLX queues.
        taking: Seconds for a sum that the host takes over from the GPU.
        unpacking: Seconds in which the host unpacks an 8-bit element.
    """

    rates: Rates
    together: float
    lent: float
    interpreted: float
    row: float
    matrix: float
    row_after: float
    opened: float
    start: float
    finish: float
    operation: float
    taking: float
    unpacking: float


# Of the numbers in `Costs`: what they are, and their unit.
TITLES = {
    "together": ("speed of a core when all are busy", "of one alone"),
    "lent": ("what a lent core adds to a matrix", "cores"),
    "interpreted": ("share of the metrics in the interpreter", "at most"),
    "row": ("a row, while weights are measured", "ms"),
    "matrix": ("a matrix, beside its steps", "ms"),
    "row_after": ("a row, afterwards", "ms"),
    "opened": ("a tensor, when the model is opened", "ms"),
    "start": ("a run, beside its first weights", "ms"),
    "finish": ("a run, after its last row", "ms"),
    "operation": ("an operation that MLX queues, in Python", "ns"),
    "taking": ("a sum that the host takes over from the GPU", "ns"),
    "unpacking": ("an FP8 element that the host unpacks", "ns"),
}
UNITS = {"ms": 1e-3, "ns": 1e-9, "µs": 1e-6, "s": 1.0}


def measure_costs(plans: Sequence[Plan], runs: int, largest: int, more: int) -> Costs:
    """Time everything that simulated runs of some plans need.

    Args:
        plans: Of the numpy backend; all types and packings that occur.
        runs: How often a matrix of each side is timed.
        largest: Largest side that is timed.
        more: Tensors that longer runs have beside the few of the shortest.
    """
    backend, cores = NumpyBackend(), usable_cores()
    rates = Rates({})
    with threadpool_limits(1, user_api="blas"):
        for plan in plans:
            rates = completed(rates, plan, 1)
        together, lent = _shared([side for side in SHARED if side <= largest], cores)
        alone, all_at_once = (metrics_curve(backend, "standard", n)[-1][1] for n in (1, cores))
        solvers = ("native",) if eigen.is_available(largest) else SOLVERS
        sides = [side for side in SIDES if side <= largest]
        cost = fit({n: measure(n, runs, solvers, plain=False) for n in sides}, True)
    rates = replace(
        rates,
        copy=1 / (load_calibration(rates=True).copy_bandwidth or np.inf),
        gram=(*rates.gram, *((n, cost.flop * (n + 1)) for n in map(float, CURVE))),
        solve=(*rates.solve, *((float(n), cost.solve(n)) for n in CURVE)),
    )
    rows = _rows(rates, runs, more)
    return Costs(
        rates=rates,
        together=together,
        lent=lent,
        interpreted=min(all_at_once / alone / cores, 1.0),
        **rows,
        operation=_operation(),
        taking=_taking(),
        unpacking=_unpacking(plans),
    )


def seconds_of_run(model: str | Path, workers: int) -> tuple[float, float, float]:
    """Seconds of a run in a process of its own: measuring, the rest, and the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--backend", "numpy", "--workers", workers, "--quiet", "--out", folder]
        used = run([PROBE, "analyze", model, *options])
        meta = json.loads((Path(folder) / "run_meta.json").read_text("utf-8"))
    seconds = meta["seconds"]
    return seconds["measure"], seconds["validate"] + seconds["write"], used.seconds


def _rows(rates: Rates, runs: int, more: int) -> dict[str, float]:
    """What rows cost, by name in `Costs`: from runs of tiny vectors, and of tiny matrices."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:

        def tiny(vectors: int, matrices: int) -> tuple[NDArray[np.float64], Plan]:
            path = Path(folder) / f"{vectors}-{matrices}.safetensors"
            shapes: dict[str, tuple[str, Shape]] = {}
            for i in range(vectors + matrices):
                name = "norm" if i < vectors else "mlp.up_proj"
                shapes[f"layers.{i}.{name}.weight"] = "F32", (16,) if i < vectors else (32, 32)
            write_gaussian(path, shapes)
            took = np.array([seconds_of_run(path, 1) for _ in range(runs)]).min(axis=0)
            checkpoint = opened.enter_context(mlx_probe.open_checkpoint(path))
            return took, make_plan(checkpoint, AnalyzeConfig(backend="numpy", workers=1))

        few, _ = tiny(FEW, 0)
        vectors, _ = tiny(FEW + more, 0)
        matrices, plan = tiny(FEW, more)
    vector, matrix = ((each - few) / more for each in (vectors, matrices))

    def known(number: int) -> float:
        return sum(steps_of(plan, plan.weights[number], rates).values())

    first = few - FEW * vector
    row = vector[0] - known(0)
    figures = {
        "row": row,
        "matrix": matrix[0] - known(-1) - row,
        "row_after": max(vector[1], matrix[1]),
        "opened": vector[2] - vector[0] - vector[1],
        "start": first[0],
        "finish": first[1],
    }
    return {name: max(float(value), 0.0) for name, value in figures.items()}


def _shared(sides: Sequence[int], cores: int) -> tuple[float, float]:
    """Speed of a core when all are busy, and what a further core adds to a large matrix.

    The work is the Gram matrix and the eigenvalues of Gaussian matrices.
    """
    if cores == 1:
        return 1.0, 0.0
    speeds, lent = [], 0.0
    with ThreadPoolExecutor(cores) as pool:
        for side in sides:
            x = np.random.default_rng(0).standard_normal((side, side))

            def both(width: int, side: int = side, x: NDArray[np.float64] = x) -> float:
                matrix = np.zeros((side, side))

                def work() -> None:
                    lapack.add_gram(matrix, x)
                    lapack.eigenvalues(matrix)

                with lapack.threads(width):
                    return seconds_of(work)

            # The fastest of each: whatever else a machine does only slows it down.
            alone = min(both(1) for _ in range(TURNS))
            crowd = min(median(pool.map(both, [1] * cores)) for _ in range(TURNS))
            speeds.append(min(alone / crowd, 1.0))
            # Smaller ones are not divided.
            if side >= lapack.TILED:
                wide = min(both(cores) for _ in range(TURNS))
                lent = (alone / wide / speeds[-1] - 1) / (cores - 1)
    return float(np.mean(speeds)), min(max(lent, 0.0), 1.0)


def _operation() -> float:
    """Seconds until an operation is queued, on arrays so small that computing takes no time."""
    from mlx_probe.compute.backends.mlx import prepare_mlx

    prepare_mlx()
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    x = mx.zeros((4, 4))

    def many() -> None:
        y = x
        for _ in range(200):
            y = y * 0.5
        mx.async_eval(y)  # type: ignore[no-untyped-call]

    seconds = []
    for _ in range(7):
        seconds.append(seconds_of(many) / 200)
        mx.synchronize()
    return median(seconds)


def _taking() -> float:
    """Seconds for an entry of int64 sums that become float64, as `DigitGram` takes them over."""
    sums = np.random.default_rng(0).integers(-(1 << 40), 1 << 40, (256, 2048))
    scale, target = np.ones(2048), np.zeros((256, 2048))

    def take() -> None:
        part = sums * (0.5 * scale[:256, None])
        part *= scale[None]
        np.add(target, part, out=target)

    return min(seconds_of(take) for _ in range(7)) / sums.size


def _unpacking(plans: Sequence[Plan]) -> float:
    """Seconds in which the packing's own decoder gives an element of FP8 with block scales."""
    for plan in plans:
        for weight in plan.weights:
            if weight.parameter.packing == "fp8" and weight.numel >= 1 << 20:
                slab = min(weight.numel, chunk_extent(weight.short) * weight.short)
                return min(seconds_of(lambda w=weight: next(w.chunks())) for _ in range(3)) / slab  # type: ignore[misc]
    raise ValueError("no plan has a weight of FP8")


def cost_rows(costs: Costs) -> list[tuple[Cell, ...]]:
    """Costs as rows of a result file; `costs_from` reads them again."""
    rates = costs.rates
    rows: list[tuple[Cell, ...]] = []
    for name, (title, unit) in TITLES.items():
        rows.append((title, "", rounded(getattr(costs, name) / UNITS.get(unit, 1), 4), unit))
    rows.append(("mapping a weight", "", _in(rates.opening or 0.0, "µs"), "µs"))
    rows.append(("copying a byte", "", _in(rates.copy, "ns"), "ns"))
    rows.append(("full SVD, by element and short side", "", _in(rates.svd or 0.0, "ns"), "ns"))
    for key, value in rates.unpack.items():
        rows.append(("loading an element", key, _in(value, "ns"), "ns"))
    for key, (fixed, each) in rates.moments.items():
        rows.append(("moments of a weight", key, _in(fixed, "µs"), "µs"))
        rows.append(("moments of an element", key, _in(each, "ns"), "ns"))
    curves = {"Gram matrix, an element": rates.gram, "eigenvalues": rates.solve}
    for key, curve in rates.metrics.items():
        curves[f"{key} metrics"] = curve
    for title, curve in curves.items():
        unit = "ns" if "element" in title else "ms"
        rows += [(title, f"{side:.0f}", _in(value, unit), unit) for side, value in curve]
    return rows


def costs_from(rows: Iterable[Sequence[Cell]]) -> Costs:
    """Costs from the rows of a result file."""
    values: dict[str, dict[str, float]] = {}
    for title, of, value, unit in rows:
        values.setdefault(str(title), {})[str(of)] = float(value or 0) * UNITS.get(str(unit), 1)

    def curve(title: str) -> tuple[tuple[float, float], ...]:
        return tuple((float(side), seconds) for side, seconds in values[title].items())

    fixed, each = values["moments of a weight"], values["moments of an element"]
    rates = Rates(
        machine={},
        opening=values["mapping a weight"][""],
        copy=values["copying a byte"][""],
        unpack=values.get("loading an element", {}),
        moments={key: (fixed[key], each[key]) for key in fixed},
        gram=curve("Gram matrix, an element"),
        solve=curve("eigenvalues"),
        metrics={"standard": curve("standard metrics")},
        svd=values["full SVD, by element and short side"][""],
    )
    return Costs(rates, **{name: values[title][""] for name, (title, _) in TITLES.items()})


def _in(seconds: float, unit: str) -> float | int:
    return rounded(seconds / UNITS[unit], 4)
