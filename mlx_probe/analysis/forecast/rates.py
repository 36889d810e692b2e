"""How fast this machine does the steps of an analysis: timed once, kept in the cache folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.forecast.timing import (
    ELEMENTS,
    Curve,
    gram_curve,
    metrics_curve,
    moments_seconds,
    rounding_seconds,
    solve_curve,
    svd_seconds,
    unpack_seconds,
)
from mlx_probe.compute import native
from mlx_probe.compute.backends.mlx.blas import mlx_blas
from mlx_probe.compute.calibration import calibration_file, load_calibration, this_machine
from mlx_probe.core.errors import ProbeError
from mlx_probe.core.paths import keep_json
from mlx_probe.core.version import __version__

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.checkpoint import Weight
    from mlx_probe.compute.backends import Backend

__all__ = [
    "Rates",
    "completed",
    "curve_at",
    "kept_rates",
    "known_rates",
    "rates_for",
    "unpacking_of",
]

# Version of the kept file; one of another version is ignored.
FORMAT = 1

# Elements below which unpacking a weight takes no time worth counting beside mapping it.
FEWEST = 1 << 15


@dataclass(frozen=True)
class Rates:
    """Seconds of the steps of an analysis, for one worker among as many as there are cores.

    Attributes:
        machine: The machine, the backend, and the version of mlx-probe that was timed.
        opening: Seconds to map a weight, however small.
        copy: Seconds to copy a byte from memory to memory.
        unpack: Seconds to load one element into the backend, by `unpacking_of`; a missing key
            is small, or as fast as a copy.
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
    """Key of `Rates.unpack`: packing and types, which decide the speed of unpacking."""
    parameter = weight.parameter
    return f"{parameter.packing} {parameter.detail} {weight.dtype} {weight.chunk_dtype}"


def curve_at(curve: Curve, size: float, growth: tuple[float, float]) -> float:
    """Seconds at a size: log-linear between the points, and the first's value below it.

    Args:
        curve: At least one point.
        size: The size.
        growth: Smallest and largest power of the size for growth beyond the last point; within
            them the power between the last two points holds.
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
    """Times of a plan's steps on this machine.

    It takes about two seconds if nothing was timed before. Times are kept in the cache folder.

    Args:
        plan: Its types, packings and metric set are timed if they are not known.
        anew: Whether to ignore what is kept.
    """
    machine = _machine(plan.backend)
    path = calibration_file(machine, "rates-")
    known = (None if anew else _read(path, machine)) or Rates(machine)
    with threadpool_limits(1, user_api="blas"):
        rates = completed(known, plan, int(machine["cores"]))
    if rates != known:
        keep_json(path, asdict(rates))
    return _with_calibration(rates)


def known_rates(plan: Plan) -> Rates | None:
    """The times of an earlier calibration; None if it lacks any that the plan needs."""
    known = kept_rates(plan.backend)
    if known is None:
        return None
    weights = [weight for weight in plan.measured if weight.problem is None]
    dtypes = {w.chunk_dtype for w in weights if w.shape and w.numel}
    whole = dtypes <= known.moments.keys() and plan.config.metrics in known.metrics
    return known if whole else None


def kept_rates(backend: Backend) -> Rates | None:
    """The times of earlier calibrations of a backend, some perhaps missing; None for no time."""
    machine = _machine(backend)
    known = _read(calibration_file(machine, "rates-"), machine)
    if known is None or load_calibration().copy_bandwidth is None:
        return None
    return _with_calibration(known)


def _machine(backend: Backend) -> dict[str, str | int]:
    return {
        **this_machine(),
        "format": FORMAT,
        "backend": backend.name,
        "device": backend.device,
        "code_version": __version__,
        "kernels": " ".join(native.used()),
        # MLX's products on the CPU are twenty times faster with a tuned one.
        **({"mlx_blas": mlx_blas() or ""} if backend.name == "mlx" else {}),
    }


def _with_calibration(rates: Rates) -> Rates:
    bandwidth = load_calibration(rates=True).copy_bandwidth or math.inf
    return replace(rates, copy=1 / bandwidth, solve=_with_races(rates.solve))


def completed(rates: Rates, plan: Plan, cores: int) -> Rates:
    """Rates with all that a plan needs, timed now where they are missing.

    Args:
        rates: What is known.
        plan: Its types, packings and metric set are timed if they are not known.
        cores: Threads that do a step at the same time while it is timed.
    """
    backend, level = plan.backend, plan.config.metrics
    # Elements are streamed in the backend's lanes; everything else runs on all cores.
    lanes = backend.lanes or cores
    weights = [weight for weight in plan.measured if weight.problem is None]
    dtypes = dict.fromkeys(w.chunk_dtype for w in weights if w.shape and w.numel)
    for dtype in dtypes:
        if dtype not in rates.moments:
            moments = {**rates.moments, dtype: moments_seconds(backend, dtype, lanes)}
            rates = replace(rates, moments=moments)
    samples = _samples(weights)
    if rates.opening is None and dtypes:
        smallest = min((w for w in weights if w.shape and w.numel), key=lambda w: w.numel)
        rates = replace(rates, opening=unpack_seconds(backend, smallest, lanes)[0])
    for key, sample in samples.items():
        if key not in rates.unpack:
            try:
                seconds, elements = unpack_seconds(backend, sample, lanes)
            except (ProbeError, StopIteration, OSError):
                continue  # an empty file is not valid for every packing
            each = max(seconds - (rates.opening or 0.0), 0.5 * seconds) / elements
            rates = replace(rates, unpack={**rates.unpack, key: each})
    if not rates.gram:
        rates = replace(rates, gram=gram_curve(backend, lanes))
    if not rates.solve:
        rates = replace(rates, solve=solve_curve(cores))
    if level not in rates.metrics:
        metrics = {**rates.metrics, level: metrics_curve(backend, level, cores)}
        rates = replace(rates, metrics=metrics)
    if level == "full" and rates.rounding is None:
        rates = replace(rates, rounding=rounding_seconds(backend, lanes))
    if rates.svd is None:
        rates = replace(rates, svd=svd_seconds(cores))
    return rates


def _with_races(solve: Curve) -> Curve:
    """The curve with the times of the eigen-solvers' comparison, if there are any."""
    races = load_calibration().solver_times
    more = {float(t.side): t.best for t in races if t.side > solve[-1][0]}
    return (*solve, *sorted(more.items()))


def _samples(weights: Iterable[Weight]) -> dict[str, Weight]:
    """One weight for each key of unpacking: the smallest with enough elements to time."""
    best: dict[str, Weight] = {}
    for weight in weights:
        # For a small weight only the opening could be timed.
        if not weight.shape or weight.numel < FEWEST:
            continue
        kept = best.setdefault(unpacking_of(weight), weight)
        larger = kept.numel < ELEMENTS and weight.numel > kept.numel
        if larger or ELEMENTS <= weight.numel < kept.numel:
            best[unpacking_of(weight)] = weight
    return best


def _power(a: tuple[float, float], b: tuple[float, float]) -> float:
    return math.log(b[1] / a[1]) / math.log(b[0] / a[0])


def _read(path: Path, machine: Mapping[str, str | int]) -> Rates | None:
    """The kept times; None if there are none, or not valid ones."""
    try:
        entry = json.loads(path.read_text("utf-8"))
        rates = Rates(
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
    figures = [*rates.unpack.values(), *(x for pair in rates.moments.values() for x in pair)]
    curves = (rates.gram, rates.solve, *rates.metrics.values())
    figures += [x for curve in curves for point in curve for x in point]
    figures += [x for x in (rates.opening, rates.rounding, rates.svd) if x is not None]
    sound = all(isinstance(x, float) and 0 < x < math.inf for x in figures)
    return rates if sound and rates.machine == machine else None


def _curve(points: Iterable[tuple[float, float]]) -> Curve:
    return tuple((float(size), float(seconds)) for size, seconds in points)
