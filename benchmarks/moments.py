"""Moments at memory speed: one core, data in the page cache, against a plain copy in memory.

    python benchmarks/moments.py [--elements N] [--runs N]

Writes a Gaussian matrix in bfloat16 and in float32 to a temporary folder and streams it as
`analyze` does: it reads every slab into the process and takes its moments. The plain way is
numpy's own expression for each number, over the whole matrix in float64. Ways take turns;
figures are medians. After timing, all moments are compared with exactly rounded sums. Exit
code 1 if bfloat16 is below 1.2 GB/s of input or a tenth of the copy, whichever is more.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median

import click
import numpy as np
from _checkpoints import write_gaussian
from _results import out_option, publish, rounded
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import mlx_probe
from mlx_probe.checkpoint import Weight
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.core.dtypes import decode
from mlx_probe.core.records import QUANTILES

COLS, LIMIT, SHARE = 1024, 1.2, 0.1
# Widest bin of float32, relative.
BIN = 2.0**-11

Numbers = dict[str, float]
Ways = dict[str, tuple[int, Callable[[], object]]]
COPY = "copy in memory"
COLUMNS = (
    *("way", "GB/s of input", "share of the copy", "GB/s of processor time"),
    *("largest error of moments", "of quantiles"),
)
SCALES = {"mean": 1, "m2": 2, "m3": 3, "m4": 4}


def streamed(weight: Weight) -> Numbers:
    """Load and moments, slab by slab."""
    backend = NumpyBackend()
    moments = backend.element_pass(weight.chunk_dtype, 1e-8)
    for slab in weight.chunks():
        moments.add(backend.load(slab, weight.chunk_dtype))
    result = moments.finish()
    numbers = {name: getattr(result, name) for name in (*SCALES, "min", "max", "zero_count")}
    return numbers | {f"q{q}": v for q, v in zip(QUANTILES, result.quantiles, strict=True)}


def naive(weight: Weight) -> Numbers:
    """The same numbers by one numpy expression each."""
    x = np.concatenate([decode(slab, weight.chunk_dtype) for slab in weight.chunks()])
    x = x.astype(np.float64).ravel()
    d = x - x.mean()
    numbers = {
        "mean": x.mean(),
        "m2": np.mean(d**2),
        "m3": np.mean(d**3),
        "m4": np.mean(d**4),
        "min": x.min(),
        "max": x.max(),
        "zero_count": np.sum(x == 0),
    }
    quantiles = {f"q{q}": v for q, v in zip(QUANTILES, np.quantile(x, QUANTILES), strict=True)}
    return {name: float(value) for name, value in (numbers | quantiles).items()}


def exact_moments(weight: Weight) -> Numbers:
    """Mean and central moments from sums of powers that are rounded once, at their end."""

    def powers(k: int) -> Iterator[float]:
        for slab in weight.chunks():
            for row in decode(slab, weight.chunk_dtype).astype(np.float64):
                yield from chain.from_iterable(part.tolist() for part in _power(row, k))

    n = weight.numel
    mean, *raw = (Fraction(math.fsum(powers(k))) / n for k in (1, 2, 3, 4))
    m2 = raw[0] - mean**2
    m3 = raw[1] - 3 * mean * raw[0] + 2 * mean**3
    m4 = raw[2] - 4 * mean * raw[1] + 6 * mean**2 * raw[0] - 3 * mean**4
    return {"mean": float(mean), "m2": float(m2), "m3": float(m3), "m4": float(m4)}


def _power(x: NDArray[np.float64], k: int) -> list[NDArray[np.float64]]:
    """Parts that add up to x**k without any rounding, for x of at most 24 significant bits."""
    if k == 1:
        return [x]
    square = x * x
    if k == 2:
        return [square]
    # Veltkamp's splitting: two halves of at most 26 bits, so all products below are exact.
    scaled = (2.0**27 + 1) * square
    high = scaled - (scaled - square)
    low = square - high
    if k == 3:
        return [high * x, low * x]
    return [high * high, 2 * high * low, low * low]


def check(weight: Weight, ours: Numbers, plain: Numbers) -> tuple[float, float]:
    """Largest errors of moments and of quantiles, on the scale of the spread; or an exit."""
    exact = exact_moments(weight)
    deviation = math.sqrt(exact["m2"])
    moments = max(abs(ours[k] - exact[k]) / deviation**p for k, p in SCALES.items())
    names = [f"q{q}" for q in QUANTILES]
    quantiles = max(abs(ours[name] - plain[name]) / abs(plain[name]) for name in names)
    same = all(ours[name] == plain[name] for name in ("min", "max", "zero_count"))
    limit = 1e-12 if weight.dtype == "BF16" else BIN
    if not same or moments > 1e-13 or quantiles > limit:
        raise SystemExit(f"{weight.dtype}: wrong: {ours} instead of {exact} and {plain}")
    return moments, quantiles


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor time of one run."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def in_turn(ways: Ways, runs: int) -> dict[str, tuple[int, list[tuple[float, float]]]]:
    """Bytes of input and times of each way; the first turn is not counted."""
    times: dict[str, list[tuple[float, float]]] = {what: [] for what in ways}
    for turn in range(runs + 1):
        for what, (_, work) in ways.items():
            took = seconds(work)
            if turn:
                times[what].append(took)
    return {what: (nbytes, times[what]) for what, (nbytes, _) in ways.items()}


@click.command()
@click.option(
    "--elements",
    default=1 << 25,
    show_default=True,
    type=click.IntRange(COLS),
    help="Of each matrix, about.",
)
@click.option("--runs", default=7, show_default=True, help="Counted runs of each way.")
@out_option
def main(elements: int, runs: int, out: Path) -> None:
    """Time moments on one core against a copy and against numpy expressions."""
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        weights = {}
        for dtype in ("BF16", "F32"):
            path = Path(name) / f"{dtype}.safetensors"
            write_gaussian(path, {"weight": (dtype, (elements // COLS, COLS))})
            (weights[dtype],) = mlx_probe.open_checkpoint(path).weights()
        source = np.ones(weights["F32"].nbytes, np.uint8)
        target = np.empty_like(source)
        copy = (source.nbytes, lambda: np.copyto(target, source))
        ours, plain = (
            {f"{dtype}, {what}": (w.nbytes, partial(way, w)) for dtype, w in weights.items()}
            for what, way in (("mlx-probe", streamed), ("numpy expressions", naive))
        )
        # The expressions make gigabytes of arrays: what comes next finds no cache as it was,
        # so they take turns among themselves.
        times = in_turn({COPY: copy, **ours}, runs) | in_turn(plain, runs)
        # By both clocks: they differ where other programs want the core.
        speeds = {
            what: [nbytes / median(clock) / 1e9 for clock in zip(*took, strict=True)]
            for what, (nbytes, took) in times.items()
        }
        errors = {
            f"{dtype}, mlx-probe": check(weight, streamed(weight), naive(weight))
            for dtype, weight in weights.items()
        }
    copied, reached = speeds[COPY][0], speeds["BF16, mlx-probe"][0]
    rows = [
        (
            *(what, rounded(speed), rounded(speed / copied), rounded(processor)),
            *(rounded(error, 1) for error in errors.get(what, ())),
            *[None] * (0 if what in errors else 2),
        )
        for what, (speed, processor) in speeds.items()
    ]
    needed = max(LIMIT, SHARE * copied)
    note = (
        f"{elements:,} elements, one thread; medians of {runs} runs in turn. Errors against "
        "exactly rounded sums: moments in standard deviations to their power, quantiles relative. "
        f"BF16 must reach {needed:.2f} GB/s."
    )
    publish("moments", COLUMNS, rows, note, out)
    if reached < needed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
