"""What a matrix costs by its size, measured and fitted, and what whole models would then cost.

    python benchmarks/scaling.py [--runs N] [--largest SIDE]

Times every stage of the numpy backend on one core, on Gaussian bfloat16 matrices, with compiled
kernels and without; the fits are least squares of relative errors. Models are lists of shapes from
their published configurations, stored as bfloat16. Figures for an M3 Ultra follow from counting and
from the `Assumed` values, not from a measurement; a table says what each of them decides.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
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
from mlx_probe.compute import lapack, native
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.native import eigen
from mlx_probe.core.machine import usable_cores
from mlx_probe.runs.monitor import process_memory

SIDES = (256, 512, 1024, 1536, 2048, 3072, 4096)

SOLVERS: tuple[lapack.Solver, ...] = ("native", "one_stage", "two_stage")

# Beyond the fit, to see how far it holds.
CHECKED = 6144

STAGE_COLUMNS = (
    *("side", "elements", "without kernels", "Gram matrix", "native solver", "syevd"),
    *("syevd_2stage", "fitted total"),
)
MODEL_COLUMNS = (
    *("model", "machine", "bfloat16 GB", "reading", "elements and Gram matrices"),
    *("eigenvalues", "time", "limit", "memory GB"),
)
ASSUMED_COLUMNS = ("assumed of an M3 Ultra", "value", "because", "671B takes, if it is half")
LIMITS = {"elements": "elements", "gram": "Gram matrices", "solve": "eigenvalues", "disk": "disk"}


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


@dataclass(frozen=True)
class Assumed:
    """What is assumed of an M3 Ultra; nobody has measured any of it with this program.

    Attributes:
        products: Flops in a second of float32 matrix products on the GPU.
        memory: Bytes in a second that passes over the GPU's memory move.
        disk: Bytes in a second from the disk.
        workers: Matrices whose eigenvalues are computed at once.
        share: Speed of such a worker, in cores of the machine that measured.
    """

    products: float = 20e12
    memory: float = 600e9
    disk: float = 6e9
    workers: int = 16
    share: float = 1.0


REASONS = {
    "products": (
        "float32 products on the GPU, TFLOP/s",
        1e12,
        "an estimate: its maker publishes none",
    ),
    "memory": ("passes over the GPU's memory, GB/s", 1e9, "three quarters of the data sheet's 819"),
    "disk": ("disk, GB/s", 1e9, "an estimate, for a model that is not in memory"),
    "workers": ("eigen-solvers at once", 1, "fewer than its 20 or 24 performance cores"),
    "share": (
        "speed of each, in cores of this machine",
        1,
        "the kernels compile for arm64; Accelerate's products are shared by the cores of a cluster",
    ),
}
M3_ULTRA = Assumed()


def gaussian(rows: int, cols: int) -> NDArray[np.uint16]:
    """Words of bfloat16."""
    return to_bfloat16(0.02 * np.random.default_rng(0).standard_normal((rows, cols), np.float32))


def measure(side: int, runs: int) -> dict[str, float]:
    """Median seconds of every stage for a square matrix."""
    words = gaussian(side, side)
    took: dict[str, list[float]] = {}
    for _ in range(runs):
        for suffix in ("", " without") if native.used() else ("",):
            with native.without() if suffix else nullcontext():
                elements, products, matrix = passes(words)
            took.setdefault(f"elements{suffix}", []).append(elements)
            took.setdefault("gram", []).append(products)
        for name in SOLVERS:
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
        sets += [resident + backend.working_set(slab, 2, short)] * min(count, M3_ULTRA.workers)
    for workers in (2, M3_ULTRA.workers):
        totals[f"memory {workers}"] = float(sum(sorted(sets)[-workers:]))
    return totals


def on_this_machine(of: Mapping[str, float], cores: int, baseline: float) -> tuple[Cell, ...]:
    """Reading, elements and Gram matrices, solvers, time, limit, memory: stages in turn."""
    stages = {stage: of[stage] / cores for stage in ("elements", "gram", "solve")}
    limit = max(stages, key=lambda stage: stages[stage])
    work = stages["elements"] + stages["gram"]
    times = (duration(work), duration(stages["solve"]), duration(sum(stages.values())))
    return None, *times, LIMITS[limit], rounded((baseline + of["memory 2"]) / 1e9, 2)


def stages_on_an_m3_ultra(of: Mapping[str, float], assumed: Assumed) -> dict[str, float]:
    """Seconds of each stage, by counting from assumptions; the stages overlap."""
    sums = of["gram flops"] / 1024 * 6 * 20 / assumed.memory
    products = 12 * of["gram flops"] / assumed.products
    return {
        "disk": of["bytes"] / assumed.disk,
        "gram": products + sums + 3 * of["bytes"] / assumed.memory,
        "solve": of["solve"] / assumed.workers / assumed.share,
    }


def on_an_m3_ultra(of: Mapping[str, float], baseline: float) -> tuple[Cell, ...]:
    """The cells of `on_this_machine` for an M3 Ultra."""
    stages = stages_on_an_m3_ultra(of, M3_ULTRA)
    limit = max(stages, key=lambda stage: stages[stage])
    times = [duration(each) for each in (*stages.values(), stages[limit])]
    memory = (baseline + of[f"memory {M3_ULTRA.workers}"]) / 1e9
    return *times, LIMITS[limit], rounded(memory, 2)


def assumptions(of: Mapping[str, float]) -> list[tuple[Cell, ...]]:
    """Every assumption, and the time of the largest model if it holds only by half."""
    rows: list[tuple[Cell, ...]] = []
    for name, (title, unit, because) in REASONS.items():
        value = getattr(M3_ULTRA, name)
        stages = stages_on_an_m3_ultra(of, replace(M3_ULTRA, **{name: value / 2}))
        rows.append((title, rounded(value / unit), because, duration(max(stages.values()))))
    return rows


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
    cost, plain, cores = fit(measured, True), fit(measured, False), usable_cores()
    rows: list[tuple[Cell, ...]] = []
    for side, took in {**measured, **checked}.items():
        names = ("elements", "elements without", "gram", *SOLVERS)
        stages = (rounded(took[name]) if name in took else None for name in names)
        rows.append((side, *stages, rounded(cost.square(side))))
    laws = ", ".join(f"{name} {_law(factors)}" for name, factors in cost.solvers.items())
    note = (
        f"Seconds on one core, medians of {runs} runs; square Gaussian bfloat16 matrices, numpy "
        f"backend. Fitted: an element takes {1e9 * cost.element:.2f} ns "
        f"({1e9 * plain.element:.2f} without kernels), the Gram matrix runs at "
        f"{1e-9 / cost.flop:.1f} GFLOP/s (long x short x (short + 1) flops), the solvers take "
        f"{laws}. {CHECKED:,} is not part of the fit."
    )
    publish("scaling_stages", STAGE_COLUMNS, rows, note, out)
    rows = []
    for name, shapes in MODELS.items():
        of, without = predict(shapes, cost), predict(shapes, plain)
        size = rounded(of["bytes"] / 1e9)
        rows.append((name, "this one", size, *on_this_machine(of, cores, baseline)))
        if native.used():
            slower = on_this_machine(without, cores, baseline)
            rows.append((name, "this one, no kernels", size, *slower))
        rows.append((name, "M3 Ultra, assumed", size, *on_an_m3_ultra(of, baseline)))
    note = (
        f"This machine: stages of scaling_stages added up, {cores} workers, reading not counted. "
        "M3 Ultra: counting from the assumptions of scaling_assumptions, no measurement. Counted: "
        "six float32 products for each Gram matrix of 16-bit weights, 2 x 6 x long x short^2 "
        "flops; int64 sums of them, 20 bytes for each of short^2 entries and product, every 1,024 "
        "rows; two passes over the elements. Memory: the process and the matrices in flight."
    )
    publish("scaling", MODEL_COLUMNS, rows, note, out)
    # The largest model is the last one.
    note = (
        "Besides: reading, GPU and solvers overlap without waiting for each other, the weights are "
        "bfloat16, and start-up, metrics and writing take no time beside the rest. As assumed, "
        f"671B takes {duration(max(stages_on_an_m3_ultra(of, M3_ULTRA).values()))}."
    )
    publish("scaling_assumptions", ASSUMED_COLUMNS, assumptions(of), note, out)


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
