"""How fast this machine does what an analysis consists of: a short calibration, kept.

Every step is timed as a run does it: by the plan's own backend, with all cores at work, on
elements that are Gaussian. Unpacking is timed on the model's own types and shapes, read from an
empty file of the model's size: no weight has to be there.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe import lapack
from mlx_probe.backends import Backend
from mlx_probe.backends.quantization import QUANTIZED_BITS
from mlx_probe.cache import keep_json
from mlx_probe.calibration import calibration_file, load_calibration, this_machine
from mlx_probe.checkpoint import Weight, blank_weight
from mlx_probe.dtypes import DTYPES
from mlx_probe.errors import ProbeError
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.plan import Plan
from mlx_probe.records import MetricLevel, Moments, Spectrum
from mlx_probe.version import __version__

__all__ = ["Rates", "curve_at", "known_rates", "rates_for", "unpacking_of"]

# A file of another format is no use.
FORMAT = 1

# Size against seconds, ascending.
Curve = tuple[tuple[float, float], ...]

# Elements that are timed at once, and how often; the fastest counts, for what else a machine
# does only ever slows it.
ELEMENTS, ROUNDS = 1 << 20, 5

# Elements below which unpacking a weight takes no time worth counting beside mapping it.
FEWEST = 1 << 15

# Seconds of a step that is repeated until it takes so long, and of one after which no larger
# size is tried.
SHORTEST, LONGEST = 0.004, 0.4

GRAM_SIDES = (64, 256, 1024)
SOLVE_SIDES = (32, 128, 384, 1024)
METRIC_SIDES = (32, 512, 2048)


@dataclass(frozen=True)
class Rates:
    """Seconds of the steps of an analysis, for one worker among as many as there are cores.

    Attributes:
        machine: What they depend on: this machine, the backend, the version of mlx-probe.
        opening: Seconds to map a weight, however small.
        copy: Seconds to copy a byte from memory to memory.
        unpack: Seconds to bring one element into the backend, by `unpacking_of`; what is not
            in it is small, or as fast as a copy.
        moments: Seconds of the moments by type: for a weight, and for each of its elements.
        gram: Short side of a matrix to seconds of the Gram matrix for each element.
        solve: Short side to seconds of all eigenvalues.
        metrics: Metric set to a curve of short side to seconds.
        rounding: Seconds for each element of the quantization errors; None if not timed.
        svd: Seconds for each element and unit of the short side of a full float64 SVD.
    """

    machine: Mapping[str, str | int]
    opening: float | None = None
    copy: float = 0.0
    unpack: Mapping[str, float] = field(default_factory=dict)
    moments: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gram: Curve = ()
    solve: Curve = ()
    metrics: Mapping[str, Curve] = field(default_factory=dict)
    rounding: float | None = None
    svd: float | None = None


def unpacking_of(weight: Weight) -> str:
    """What the speed of unpacking a weight depends on, as a key of `Rates.unpack`."""
    parameter = weight.parameter
    return f"{parameter.packing} {parameter.detail} {weight.dtype} {weight.chunk_dtype}"


def curve_at(curve: Curve, size: float, growth: tuple[float, float]) -> float:
    """Seconds at a size: log-linear between the points, and the first's value below it.

    Args:
        curve: At least one point.
        size: Where.
        growth: Least and largest power of the size with which it grows beyond the last point;
            in between, as between the last two.
    """
    first, last = curve[0], curve[-1]
    if size <= first[0]:
        return first[1]
    if size >= last[0]:
        power = _power(curve[-2], last) if len(curve) > 1 else growth[0]
        exponent = min(max(power, growth[0]), growth[1])
        return last[1] * math.exp(exponent * math.log(size / last[0]))
    sizes, seconds = np.log(np.array(curve)).T
    return float(np.exp(np.interp(math.log(size), sizes, seconds)))


def rates_for(plan: Plan, anew: bool = False) -> Rates:
    """What the steps of a plan take on this machine.

    About two seconds where nothing is known yet; what was timed is kept in the cache folder.

    Args:
        plan: Its types, packings and metric set are timed if they are not known.
        anew: Whether to forget what is known.
    """
    machine = _machine(plan.backend)
    path = calibration_file(machine, "rates-")
    known = (None if anew else _read(path, machine)) or Rates(machine)
    with threadpool_limits(1, user_api="blas"):
        found = _completed(known, plan)
    if found != known:
        keep_json(path, asdict(found))
    return _with_calibration(found)


def known_rates(plan: Plan) -> Rates | None:
    """What an earlier calibration found; None where it does not have all that the plan needs."""
    machine = _machine(plan.backend)
    known = _read(calibration_file(machine, "rates-"), machine)
    if known is None or load_calibration().copy_bandwidth is None:
        return None
    weights = [w for i, w in enumerate(plan.weights) if w.problem is None and i not in plan.aliases]
    dtypes = {w.chunk_dtype for w in weights if w.shape and w.numel}
    whole = dtypes <= known.moments.keys() and plan.config.metrics in known.metrics
    return _with_calibration(known) if whole else None


def _machine(backend: Backend) -> dict[str, str | int]:
    return {
        **this_machine(),
        "format": FORMAT,
        "backend": backend.name,
        "device": backend.device,
        "code_version": __version__,
    }


def _with_calibration(rates: Rates) -> Rates:
    bandwidth = load_calibration(rates=True).copy_bandwidth or math.inf
    return replace(rates, copy=1 / bandwidth, solve=_with_races(rates.solve))


def _completed(rates: Rates, plan: Plan) -> Rates:
    backend, level = plan.backend, plan.config.metrics
    # What streams goes through the backend's lanes, the rest beside them on all cores.
    cores = int(this_machine()["cores"])
    lanes = backend.lanes or cores
    weights = [w for i, w in enumerate(plan.weights) if w.problem is None and i not in plan.aliases]
    dtypes = dict.fromkeys(w.chunk_dtype for w in weights if w.shape and w.numel)
    for dtype in dtypes:
        if dtype not in rates.moments:
            moments = {**rates.moments, dtype: _moments_seconds(backend, dtype, lanes)}
            rates = replace(rates, moments=moments)
    samples = _samples(weights)
    if rates.opening is None and dtypes:
        smallest = min((w for w in weights if w.shape and w.numel), key=lambda w: w.numel)
        rates = replace(rates, opening=_unpack_seconds(backend, smallest, lanes)[0])
    for key, sample in samples.items():
        if key not in rates.unpack:
            try:
                seconds, elements = _unpack_seconds(backend, sample, lanes)
            except (ProbeError, StopIteration, OSError):
                continue  # zeros are no sound packing of every kind
            each = max(seconds - (rates.opening or 0.0), 0.5 * seconds) / elements
            rates = replace(rates, unpack={**rates.unpack, key: each})
    if not rates.gram:
        rates = replace(rates, gram=_gram_curve(backend, lanes))
    if not rates.solve:
        rates = replace(rates, solve=_solve_curve(cores))
    if level not in rates.metrics:
        metrics = {**rates.metrics, level: _metrics_curve(backend, level, cores)}
        rates = replace(rates, metrics=metrics)
    if level == "full" and rates.rounding is None:
        rates = replace(rates, rounding=_rounding_seconds(backend, lanes))
    if rates.svd is None:
        rates = replace(rates, svd=_svd_seconds(cores))
    return rates


def _with_races(solve: Curve) -> Curve:
    """The curve with what the race of the eigen-solvers found, if it has been held."""
    races = load_calibration().solver_times
    found = {float(t.side): min(t.one_stage, t.two_stage) for t in races if t.side > solve[-1][0]}
    return (*solve, *sorted(found.items()))


def _samples(weights: Iterable[Weight]) -> dict[str, Weight]:
    """One weight for each way of unpacking: of those with enough elements the smallest."""
    best: dict[str, Weight] = {}
    for weight in weights:
        # Of weights that are all small nothing but the opening could be seen.
        if not weight.shape or weight.numel < FEWEST:
            continue
        kept = best.setdefault(unpacking_of(weight), weight)
        larger = kept.numel < ELEMENTS and weight.numel > kept.numel
        if larger or ELEMENTS <= weight.numel < kept.numel:
            best[unpacking_of(weight)] = weight
    return best


def _gaussian(dtype: str, shape: tuple[int, int]) -> NDArray[Any]:
    """Elements as they are stored; of types that numpy lacks and of integers, any bits."""
    storage = DTYPES[dtype].storage
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    if np.issubdtype(storage, np.floating):
        return np.asarray(x.astype(storage))
    if dtype == "BF16":
        return np.asarray((x.view(np.uint32) >> 16).astype(storage))
    return np.asarray((64 * x).astype(np.int64).astype(storage))


def _seconds(work: Callable[[], object], at_once: int) -> float:
    """Seconds of a step while as many threads as that do it at once."""
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


def _moments_seconds(backend: Backend, dtype: str, at_once: int) -> tuple[float, float]:
    slab = _gaussian(dtype, (ELEMENTS >> 10, 1 << 10))
    few, many = (backend.load(x, dtype) for x in (slab[:1, :16].copy(), slab))

    def moments(chunk: Any) -> Moments:
        elements = backend.element_pass(dtype, 0.0)
        elements.add(chunk)
        # Until then a device may have queued what it was given.
        return elements.finish()

    fixed = _seconds(lambda: moments(few), at_once)
    whole = _seconds(lambda: moments(many), at_once)
    return fixed, max(whole - fixed, 0.1 * whole) / slab.size


def _unpack_seconds(backend: Backend, weight: Weight, at_once: int) -> tuple[float, int]:
    """Seconds of a weight's first chunk, read from an empty file, and its elements."""
    with tempfile.TemporaryDirectory(prefix="mlx-probe-") as folder:
        sizes: list[int] = []

        def work() -> None:
            stored = next(blank.chunks())
            backend.load(stored, weight.chunk_dtype)
            sizes.append(stored.size)

        blank = blank_weight(weight, Path(folder))
        return _seconds(work, at_once), sizes[0]


def _gram_curve(backend: Backend, at_once: int) -> Curve:
    points = []
    for side in GRAM_SIDES:
        rows = ELEMENTS // side
        chunk = backend.load(_gaussian("F32", (rows, side)), "F32")
        seconds = _seconds(_Gram(backend, rows, side, chunk), at_once)
        points.append((float(side), seconds / (rows * side)))
        if seconds > LONGEST:
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


def _solve_curve(at_once: int) -> Curve:
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


def _metrics_curve(backend: Backend, level: MetricLevel, at_once: int) -> Curve:
    rng = np.random.default_rng(0)
    elements = backend.element_pass("F32", 0.0)
    elements.add(backend.load(_gaussian("F32", (64, 64)), "F32"))
    moments = elements.finish()
    points = []
    for side in METRIC_SIDES:
        # Heavy tails, as weights have them: the search for one takes most of the time.
        values = np.sort(rng.pareto(1.5, side) + 1)[::-1].copy()
        spectrum = Spectrum(values, side, side, "gram_f64", 1e-9)
        seed = 0 if level == "full" else None
        work = _Metrics(moments, spectrum, seed, level)
        seconds = _seconds(work, at_once)
        points.append((float(side), seconds))
        if seconds > LONGEST:
            break
    return tuple(points)


@dataclass(frozen=True)
class _Metrics:
    moments: Moments
    spectrum: Spectrum
    seed: int | None
    level: MetricLevel

    def __call__(self) -> None:
        measurement = Measurement(self.moments, 1e-6, self.spectrum, None, self.seed)
        compute_metrics(measurement, self.level)


def _rounding_seconds(backend: Backend, at_once: int) -> float:
    rows, cols = ELEMENTS >> 10, 1 << 10
    chunk = backend.load(_gaussian("F32", (rows, cols)), "F32")

    def work() -> None:
        rounding = backend.quantization_pass(rows, cols, "F32", QUANTIZED_BITS)
        rounding.add(chunk)
        rounding.finish()

    return _seconds(work, at_once) / ELEMENTS


def _svd_seconds(at_once: int) -> float:
    side = 384
    x = np.random.default_rng(0).standard_normal((side, side))
    return _seconds(lambda: np.linalg.svd(x, compute_uv=False), at_once) / side**3


def _power(a: tuple[float, float], b: tuple[float, float]) -> float:
    return math.log(b[1] / a[1]) / math.log(b[0] / a[0])


def _read(path: Path, machine: Mapping[str, str | int]) -> Rates | None:
    """The kept figures; None where there are none that can be relied on."""
    try:
        entry = json.loads(path.read_text("utf-8"))
        found = Rates(
            machine=entry["machine"],
            opening=entry["opening"],
            copy=entry["copy"],
            unpack={str(key): float(value) for key, value in entry["unpack"].items()},
            moments={key: (float(a), float(b)) for key, (a, b) in entry["moments"].items()},
            gram=_curve(entry["gram"]),
            solve=_curve(entry["solve"]),
            metrics={str(key): _curve(value) for key, value in entry["metrics"].items()},
            rounding=entry["rounding"],
            svd=entry["svd"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    figures = [*found.unpack.values(), *(x for pair in found.moments.values() for x in pair)]
    curves = (found.gram, found.solve, *found.metrics.values())
    figures += [x for curve in curves for point in curve for x in point]
    figures += [x for x in (found.opening, found.rounding, found.svd) if x is not None]
    sound = all(isinstance(x, float) and 0 < x < math.inf for x in figures)
    return found if sound and found.machine == machine else None


def _curve(points: Iterable[tuple[float, float]]) -> Curve:
    return tuple((float(size), float(seconds)) for size, seconds in points)
