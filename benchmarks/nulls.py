"""What the tests against noise say of noise and of planted signals.

    python benchmarks/nulls.py [--trials N]

How many spikes and how much rank the metrics see in Gaussian matrices, how often they count
planted signals right, and how long the search for the tail takes on one core. Seeded: all but
the times are the same every time. Intervals of planted tails are in coverage.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import mean, median

import click
import numpy as np
from _checkpoints import to_bfloat16
from _processes import seconds_of
from _results import out_option, publish, rounded
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.core.dtypes import decode
from mlx_probe.core.records import Moments, Spectrum
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.metrics.power_law import fit_power_law
from mlx_probe.metrics.resampling import Bootstrap

ASPECTS, SIZES = (1.0, 0.5, 0.25, 0.1), (128, 256, 512, 1024)
SHAPES = [(size, round(size / aspect)) for size, aspect in product(SIZES, ASPECTS)]
COLUMNS = ("case", "trials", "figure", "value")
Row = tuple[str, int, str, float]

STRENGTH = 1.6
MOMENTS = Moments(9, 0, 0, 0, 0, 0.0, 1.0, 0.0, 3.0, -1.0, 1.0, (0.0,) * 5, "F32", 0.0)


def columns(x: NDArray[np.float64]) -> dict[str, float]:
    """The standard metrics of a matrix."""
    sigma = np.linalg.svd(x, compute_uv=False)
    spectrum = Spectrum(sigma, *x.shape, "gram_f64", 1e-12)
    return compute_metrics(Measurement(MOMENTS, 1e-6, spectrum), "standard")


def stored(x: NDArray[np.float64], dtype: str) -> NDArray[np.float64]:
    """The matrix as it would lie in a file: in bfloat16 cut off, which is coarser still."""
    words = x.astype(np.float32)
    return (decode(to_bfloat16(words), "BF16") if dtype == "BF16" else words).astype(np.float64)


def noise(trials: int) -> Iterator[Row]:
    """Spikes and rank in pure noise."""
    for dtype in ("BF16", "F32"):
        rng = np.random.default_rng(1)
        seen = []
        for trial in range(trials):
            shape = SHAPES[trial % len(SHAPES)]
            seen.append(columns(stored(rng.standard_normal(shape), dtype)))
        spikes = mean(row["spikes"] for row in seen)
        none = mean(row["gd_rank"] == 0 for row in seen)
        soft = median(row["mp_softrank"] for row in seen)
        case = f"Gaussian noise, {dtype}"
        yield case, trials, "spikes in a matrix, mean", rounded(spikes)
        yield case, trials, "matrices with gd_rank 0, %", rounded(100 * none)
        yield case, trials, "mp_softrank, median", rounded(soft)


def signals(trials: int) -> Iterator[Row]:
    """Planted directions at `STRENGTH` times the threshold of detection."""
    rng = np.random.default_rng(2)
    off: dict[tuple[int, int], list[float]] = {shape: [] for shape in SHAPES}
    for trial in range(trials):
        rows, cols = SHAPES[trial % len(SHAPES)]
        rank = int(rng.integers(1, 6))
        u = np.linalg.qr(rng.standard_normal((rows, rank)))[0]
        v = np.linalg.qr(rng.standard_normal((cols, rank)))[0]
        signal = STRENGTH * (rows * cols) ** 0.25 * u @ v.T
        spikes = columns(rng.standard_normal((rows, cols)) + signal)["spikes"]
        off[rows, cols].append(spikes - rank)
    case = f"1 to 5 directions planted at {STRENGTH} times the threshold"
    right = mean(o == 0 for each in off.values() for o in each)
    yield case, trials, "counted right, %", rounded(100 * right)
    for (rows, cols), each in off.items():
        if any(each):
            few, many = (mean(o * sign > 0 for o in each) for sign in (-1, 1))
            shape = f"the same, {rows} x {cols}"
            yield shape, len(each), "too few, %", rounded(100 * few)
            yield shape, len(each), "too many, %", rounded(100 * many)


def search() -> Iterator[Row]:
    """Time of the exact search over every xmin."""
    rng = np.random.default_rng(4)
    for size in (576, 1024, 2048, 4096):
        values = np.sort(rng.pareto(1.5, size) + 1)
        searches = [seconds_of(lambda v=values: fit_power_law(v)) for _ in range(7)]  # type: ignore[misc]
        interval = seconds_of(lambda v=values: Bootstrap(v, 0).interval())  # type: ignore[misc]
        case = f"alpha of {size:,} eigenvalues"
        yield case, len(searches), "search, ms, median", rounded(1e3 * median(searches))
        yield case, 1, "interval, ms", rounded(1e3 * interval)


@click.command()
@click.option("--trials", default=200, show_default=True)
@out_option
def main(trials: int, out: Path) -> None:
    """Measure what the metrics make of noise and of planted truth."""
    with threadpool_limits(1, user_api="blas"):
        rows = [*noise(trials), *signals(trials), *search()]
    sides = f"{min(SIZES)} to {max(SIZES):,}"
    note = f"Matrices have short sides of {sides} and aspects of {min(ASPECTS)} to 1. One thread."
    publish("nulls", COLUMNS, rows, note, out)


if __name__ == "__main__":
    main()
