"""Times the steps of an analysis as a run does them.

The plan's own backend does each step, as many at once as in a run, on Gaussian elements.
Unpacking is timed with the model's own types and shapes, read from an empty file of the model's
size: no weight has to be on this disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.loading import loaded_chunks
from mlx_probe.checkpoint import Weight, blank_weight
from mlx_probe.compute import lapack
from mlx_probe.compute.backends.quantization import QUANTIZED_BITS
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.records import MetricLevel, Moments, Spectrum
from mlx_probe.metrics import Measurement, compute_metrics

if TYPE_CHECKING:
    from mlx_probe.compute.backends import Backend

__all__ = [
    "ELEMENTS",
    "Curve",
    "gram_curve",
    "metrics_curve",
    "moments_seconds",
    "rounding_seconds",
    "solve_curve",
    "svd_seconds",
    "unpack_seconds",
]

# Size against seconds, ascending.
Curve = tuple[tuple[float, float], ...]

# Elements that are timed at once, and how often. The fastest counts: whatever else a machine does
# only slows it down.
ELEMENTS, ROUNDS = 1 << 20, 5

# A step is repeated until it takes SHORTEST seconds; after one of LONGEST seconds no larger size
# is tried.
SHORTEST, LONGEST = 0.004, 0.4

GRAM_SIDES = (64, 256, 1024)
SOLVE_SIDES = (32, 128, 384, 1024)
METRIC_SIDES = (32, 512, 2048)


def _gaussian(dtype: str, shape: tuple[int, int]) -> NDArray[Any]:
    """Elements as they are stored; any bits for integers and for types that numpy lacks."""
    storage = DTYPES[dtype].storage
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    if np.issubdtype(storage, np.floating):
        return np.asarray(x.astype(storage))
    if dtype == "BF16":
        return np.asarray((x.view(np.uint32) >> 16).astype(storage))
    return np.asarray((64 * x).astype(np.int64).astype(storage))


def _seconds(work: Callable[[], object], at_once: int) -> float:
    """Seconds of a step while so many threads do it at the same time."""
    began = time.perf_counter()
    work()  # first calls load libraries and compile kernels
    first = time.perf_counter() - began
    if first > LONGEST:
        return first
    repeats = max(1, min(1000, round(SHORTEST / max(first, 1e-9))))

    def clock(_: int) -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        return (time.perf_counter() - began) / repeats

    with ThreadPoolExecutor(at_once) as pool:
        return min(median(pool.map(clock, range(at_once))) for _ in range(ROUNDS))


def moments_seconds(backend: Backend, dtype: str, at_once: int) -> tuple[float, float]:
    """Seconds of a weight's moments: a constant for the weight, and for each element."""
    slab = _gaussian(dtype, (ELEMENTS >> 10, 1 << 10))
    few, many = (backend.load(x, dtype) for x in (slab[:1, :16].copy(), slab))

    def moments(chunk: Any) -> Moments:
        elements = backend.element_pass(dtype, 0.0)
        elements.add(chunk)
        # A device may have only queued the work before this.
        return elements.finish()

    fixed = _seconds(lambda: moments(few), at_once)
    whole = _seconds(lambda: moments(many), at_once)
    return fixed, max(whole - fixed, 0.1 * whole) / slab.size


def unpack_seconds(backend: Backend, weight: Weight, at_once: int) -> tuple[float, int]:
    """Seconds of a weight's first chunk, read from an empty file, and its elements."""
    with tempfile.TemporaryDirectory(prefix="mlx-probe-") as folder:
        sizes: list[int] = []

        def work() -> None:
            sizes.append(next(loaded_chunks(blank, backend)).size)

        blank = blank_weight(weight, Path(folder))
        return _seconds(work, at_once), sizes[0]


def gram_curve(backend: Backend, at_once: int) -> Curve:
    """Seconds of the Gram matrix for each element, by short side."""
    points = []
    for side in GRAM_SIDES:
        rows = ELEMENTS // side
        chunk = backend.load(_gaussian("F32", (rows, side)), "F32")
        seconds = _seconds(_Gram(backend, rows, side, chunk), at_once)
        points.append((float(side), seconds / (rows * side)))
        # The growth needs two points, even from a slow backend.
        if seconds > LONGEST and len(points) > 1:
            break
    return tuple(points)


@dataclass(frozen=True)
class _Gram:
    backend: Backend
    rows: int
    side: int
    chunk: Any

    def __call__(self) -> None:
        gram = self.backend.gram_pass(self.rows, self.side, "F32")
        gram.add(self.chunk)
        gram.finish()


def solve_curve(at_once: int) -> Curve:
    """Seconds of all eigenvalues of a symmetric matrix, by its side."""
    points = []
    rng = np.random.default_rng(0)
    for side in SOLVE_SIDES:
        x = rng.standard_normal((side + 64, side))
        matrix = np.zeros((side, side))
        lapack.add_gram(matrix, x)
        seconds = _seconds(lambda m=matrix: lapack.eigenvalues(m.copy()), at_once)  # type: ignore[misc]
        points.append((float(side), seconds))
        if seconds > LONGEST:
            break
    return tuple(points)


def metrics_curve(backend: Backend, level: MetricLevel, at_once: int) -> Curve:
    """Seconds of a metric set, by the number of singular values."""
    rng = np.random.default_rng(0)
    elements = backend.element_pass("F32", 0.0)
    elements.add(backend.load(_gaussian("F32", (64, 64)), "F32"))
    moments = elements.finish()
    points = []
    for side in METRIC_SIDES:
        # The power-law fit takes most of the time: longest for heavy tails, about which it needs
        # all resamples, least for a bulk without a tail. Weighted as SmolLM2's matrices take.
        tail, bulk = rng.pareto(1.5, side) + 1, rng.uniform(0.2, 2.0, side)
        spectra = [
            Spectrum(np.sort(values)[::-1].copy(), side, side, "gram_f64", 1e-9)
            for values in (tail, bulk)
        ]
        hard, easy = (_seconds(_Metrics(moments, each, level), at_once) for each in spectra)
        seconds = (hard + 3 * easy) / 4
        points.append((float(side), seconds))
        if seconds > LONGEST:
            break
    return tuple(points)


@dataclass(frozen=True)
class _Metrics:
    moments: Moments
    spectrum: Spectrum
    level: MetricLevel

    def __call__(self) -> None:
        measurement = Measurement(self.moments, 1e-6, self.spectrum)
        compute_metrics(measurement, self.level)


def rounding_seconds(backend: Backend, at_once: int) -> float:
    """Seconds of the quantization errors for each element."""
    rows, cols = ELEMENTS >> 10, 1 << 10
    chunk = backend.load(_gaussian("F32", (rows, cols)), "F32")

    def work() -> None:
        rounding = backend.quantization_pass(rows, cols, "F32", QUANTIZED_BITS)
        rounding.add(chunk)
        rounding.finish()

    return _seconds(work, at_once) / ELEMENTS


def svd_seconds(at_once: int) -> float:
    """Seconds of a full float64 SVD for each element and unit of the short side."""
    side = 384
    x = np.random.default_rng(0).standard_normal((side, side))
    return _seconds(lambda: np.linalg.svd(x, compute_uv=False), at_once) / side**3
