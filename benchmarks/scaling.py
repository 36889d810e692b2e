"""What a matrix costs by its size, measured and fitted, and what whole models would then cost.

    python benchmarks/scaling.py [--runs N] [--largest SIDE]

Times every stage of the numpy backend on one core, on Gaussian bfloat16 matrices; the fits are
least squares of relative errors. Models are lists of shapes from their published configurations.
Figures for an M3 Ultra follow from named assumptions and from counting, not from a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import numpy as np
from _checkpoints import to_bfloat16
from _processes import seconds_of
from _results import Cell, out_option, publish, rounded
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.budget import RESERVE
from mlx_probe.checkpoint import chunk_extent
from mlx_probe.compute import lapack
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.core.machine import usable_cores
from mlx_probe.runs.monitor import process_memory

SIDES = (256, 512, 1024, 1536, 2048, 3072, 4096)

# Beyond the fit, to see how far it holds.
CHECKED = 6144

STAGE_COLUMNS = ("side", "elements", "Gram matrix", "syevd", "syevd_2stage", "fitted total")
MODEL_COLUMNS = (
    *("model", "machine", "bfloat16 GB", "reading", "elements and Gram matrices"),
    *("eigenvalues", "time", "limit", "memory GB"),
)
LIMITS = {"elements": "elements", "gram": "Gram matrices", "solve": "eigenvalues", "disk": "disk"}


@dataclass(frozen=True)
class Cost:
    """Seconds on one core.

    Attributes:
        element: Of reading an element, and of its moments.
        flop: Of a flop of the Gram matrix, long * short * (short + 1).
        one_stage: Of syevd: factors of n**2 and n**3.
        two_stage: Of syevd_2stage: factors of n**2 and n**3.
    """

    element: float
    flop: float
    one_stage: NDArray[np.float64]
    two_stage: NDArray[np.float64]

    def solve(self, side: int) -> float:
        """Seconds of the faster solver."""
        powers = np.array([side**2, side**3], float)
        return float(min(powers @ self.one_stage, powers @ self.two_stage))


# Number, rows, columns of the matrices of a model, and its parameters that are no matrices.
MODELS = {
    "7B dense (Llama 2: 32 layers of 4,096, 11,008)": [
        (2, 32000, 4096),
        (32 * 4, 4096, 4096),
        (32 * 3, 11008, 4096),
    ],
    "70B dense (Llama 3: 80 layers of 8,192, 28,672)": [
        (2, 128256, 8192),
        (80 * 2, 8192, 8192),
        (80 * 2, 1024, 8192),
        (80 * 3, 28672, 8192),
    ],
    "671B MoE (DeepSeek-V3: 58 layers of 256 + 1 experts of 2,048 x 7,168)": [
        (58 * 257 * 3, 2048, 7168),
        (3 * 3, 18432, 7168),
        (2, 129280, 7168),
        (61, 1536, 7168),
        (61, 24576, 1536),
        (61, 576, 7168),
        (61, 32768, 512),
        (61, 7168, 16384),
        (58, 256, 7168),
    ],
}

# What is assumed of an M3 Ultra; nobody has measured any of it with this program.
GPU_PRODUCTS = 20e12
GPU_MEMORY = 600e9
DISK = 6e9
CPU_WORKERS = 16
CPU_SHARE = 1.0


def gaussian(rows: int, cols: int) -> NDArray[np.uint16]:
    """Words of bfloat16."""
    return to_bfloat16(0.02 * np.random.default_rng(0).standard_normal((rows, cols), np.float32))


def measure(side: int, runs: int) -> dict[str, float]:
    """Median seconds of every stage for a square matrix."""
    backend, words = NumpyBackend(), gaussian(side, side)
    took: dict[str, list[float]] = {}

    def elements() -> None:
        sums = backend.element_pass("BF16", 1e-8)
        for first in range(0, side, chunk_extent(side)):
            sums.add(backend.load(words[first : first + chunk_extent(side)], "BF16"))
        sums.finish()

    chunk = backend.load(words, "BF16")
    for _ in range(runs):
        gram = backend.gram_pass(side, side, "BF16")
        took.setdefault("elements", []).append(seconds_of(elements))
        took.setdefault("gram", []).append(seconds_of(lambda g=gram: g.add(chunk)))
        matrix = gram.finish().matrix
        for name in ("one_stage", "two_stage"):
            copy = matrix.copy()
            spent = seconds_of(lambda c=copy, s=name: lapack.eigenvalues(c, s))
            took.setdefault(name, []).append(spent)
    return {name: median(each) for name, each in took.items()}


def fit(measured: dict[int, dict[str, float]]) -> Cost:
    """Factors that leave the least relative errors."""
    sides = np.array(list(measured), float)

    def factors(name: str, *columns: NDArray[np.float64]) -> NDArray[np.float64]:
        times = np.array([each[name] for each in measured.values()])
        scaled = np.stack(columns, axis=1) / times[:, None]
        return np.asarray(np.linalg.lstsq(scaled, np.ones(len(times)), rcond=None)[0])

    return Cost(
        element=float(factors("elements", sides**2)[0]),
        flop=float(factors("gram", sides**2 * (sides + 1))[0]),
        one_stage=factors("one_stage", sides**2, sides**3),
        two_stage=factors("two_stage", sides**2, sides**3),
    )


def predict(shapes: list[tuple[int, int, int]], cost: Cost) -> dict[str, float]:
    """Totals of a model on one core, and the working sets of its largest matrices."""
    totals = dict.fromkeys(("bytes", "elements", "gram", "gram flops", "solve"), 0.0)
    backend, sets = NumpyBackend(), []
    for count, rows, cols in shapes:
        short, long = sorted((rows, cols))
        flops = float(long) * short * (short + 1)
        totals["bytes"] += 2.0 * count * rows * cols
        totals["elements"] += count * rows * cols * cost.element
        totals["gram"] += count * flops * cost.flop
        totals["gram flops"] += count * flops
        totals["solve"] += count * cost.solve(short)
        resident = 2 * rows * cols if rows < cols else 0
        slab = short * min(long, chunk_extent(short))
        sets += [resident + backend.working_set(slab, 2, short)] * min(count, CPU_WORKERS)
    for workers in (2, CPU_WORKERS):
        totals[f"memory {workers}"] = float(sum(sorted(sets)[-workers:]))
    return totals


def on_this_machine(of: dict[str, float], cores: int, baseline: float) -> tuple[Cell, ...]:
    """Reading, elements and Gram matrices, solvers, time, limit, memory: stages in turn."""
    stages = {stage: of[stage] / cores for stage in ("elements", "gram", "solve")}
    limit = max(stages, key=lambda stage: stages[stage])
    work = stages["elements"] + stages["gram"]
    times = (duration(work), duration(stages["solve"]), duration(sum(stages.values())))
    return None, *times, LIMITS[limit], rounded((baseline + of["memory 2"]) / 1e9, 2)


def on_an_m3_ultra(of: dict[str, float], baseline: float) -> tuple[Cell, ...]:
    """The same by counting, from the assumptions above: stages overlap."""
    sums = of["gram flops"] / 1024 * 6 * 20 / GPU_MEMORY
    stages = {
        "disk": of["bytes"] / DISK,
        "gram": 12 * of["gram flops"] / GPU_PRODUCTS + sums + 3 * of["bytes"] / GPU_MEMORY,
        "solve": of["solve"] / CPU_WORKERS / CPU_SHARE,
    }
    limit = max(stages, key=lambda stage: stages[stage])
    times = [duration(each) for each in (*stages.values(), stages[limit])]
    return *times, LIMITS[limit], rounded((baseline + of[f"memory {CPU_WORKERS}"]) / 1e9, 2)


@click.command()
@click.option("--runs", default=3, show_default=True)
@click.option("--largest", default=CHECKED, show_default=True, help="Leave out larger sides.")
@out_option
def main(runs: int, largest: int, out: Path) -> None:
    """Measure the stages, fit them, and add them up for whole models."""
    sides = [side for side in SIDES if side <= largest]
    baseline = process_memory() + RESERVE
    with threadpool_limits(1, user_api="blas"):
        measured = {side: measure(side, runs) for side in sides}
        checked = {CHECKED: measure(CHECKED, 1)} if largest >= CHECKED else {}
    cost, cores = fit(measured), usable_cores()
    rows: list[tuple[Cell, ...]] = []
    for side, took in {**measured, **checked}.items():
        fitted = side**2 * cost.element + side**2 * (side + 1) * cost.flop + cost.solve(side)
        stages = (took[stage] for stage in ("elements", "gram", "one_stage", "two_stage"))
        rows.append((side, *map(rounded, stages), rounded(fitted)))
    note = (
        f"Seconds on one core, medians of {runs} runs; square Gaussian bfloat16 matrices, numpy "
        f"backend. Fitted: an element takes {1e9 * cost.element:.2f} ns, the Gram matrix runs at "
        f"{1e-9 / cost.flop:.1f} GFLOP/s (long x short x (short + 1) flops), the solvers take "
        f"{_law(cost.one_stage)} and {_law(cost.two_stage)}. {CHECKED:,} is not part of the fit."
    )
    publish("scaling_stages", STAGE_COLUMNS, rows, note, out)
    rows = []
    for name, shapes in MODELS.items():
        of = predict(shapes, cost)
        size = rounded(of["bytes"] / 1e9)
        rows.append((name, "this one", size, *on_this_machine(of, cores, baseline)))
        rows.append((name, "M3 Ultra, assumed", size, *on_an_m3_ultra(of, baseline)))
    note = (
        f"This machine: stages of scaling_stages added up, {cores} workers, reading not counted. "
        "M3 Ultra: assumptions and counting, no measurement. Assumed: the GPU multiplies float32 "
        f"matrices at {GPU_PRODUCTS / 1e12:.0f} TFLOP/s and passes over memory at "
        f"{GPU_MEMORY / 1e9:.0f} GB/s (data sheet: 819), the disk delivers {DISK / 1e9:.0f} GB/s, "
        f"{CPU_WORKERS} CPU workers solve at once, each {CPU_SHARE:g} times as fast as a core of "
        "this machine, and all of that overlaps. Counted: six float32 products for each Gram "
        "matrix of 16-bit weights, 2 x 6 x long x short^2 flops; int64 sums of them, 20 bytes for "
        "each of short^2 entries and product, every 1,024 rows; two passes over the elements. "
        "Memory: the process and the matrices in flight."
    )
    publish("scaling", MODEL_COLUMNS, rows, note, out)


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _law(factors: NDArray[np.float64]) -> str:
    square, cube = factors
    return f"{1e9 * square:.3g} n^2 + {1e9 * cube:.3g} n^3 ns"


if __name__ == "__main__":
    main()
