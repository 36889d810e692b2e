"""What the tests against noise say of noise, of planted signals, and of planted tails.

    python benchmarks/nulls.py [--trials N]

Prints how many spikes and how much rank the metrics see in Gaussian matrices, how often they
count planted signals right, how often alpha's interval holds a planted exponent, and how long
the search for the tail takes on one core. Seeded: the same figures every time.
"""

from __future__ import annotations

import time
from datetime import date
from itertools import product
from statistics import mean, median

import click
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.core.dtypes import decode
from mlx_probe.core.records import Moments, Spectrum
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.metrics.power_law import bootstrap_interval, fit_power_law

ASPECTS, SIZES = (1.0, 0.5, 0.25, 0.1), (128, 256, 512, 1024)
SHAPES = [(size, round(size / aspect)) for size, aspect in product(SIZES, ASPECTS)]
STRENGTH = 1.6
TAIL = 500
MOMENTS = Moments(9, 0, 0, 0, 0, 0.0, 1.0, 0.0, 3.0, -1.0, 1.0, (0.0,) * 5, "F32", 0.0)


def columns(x: NDArray[np.float64]) -> dict[str, float]:
    """The standard metrics of a matrix."""
    sigma = np.linalg.svd(x, compute_uv=False)
    spectrum = Spectrum(sigma, *x.shape, "gram_f64", 1e-12)
    return compute_metrics(Measurement(MOMENTS, 1e-6, spectrum), "standard")


def rounded(x: NDArray[np.float64], dtype: str) -> NDArray[np.float64]:
    """The matrix as it would lie in a file: in bfloat16 cut off, which is coarser still."""
    words = x.astype(np.float32)
    if dtype == "BF16":
        return decode((words.view(np.uint32) >> 16).astype(np.uint16), "BF16").astype(np.float64)
    return words.astype(np.float64)


def noise(trials: int) -> None:
    """Spikes and rank in pure noise."""
    print("| type | matrices | spikes each | gd_rank 0 | mp_softrank |\n|---|---|---|---|---|")
    for dtype in ("BF16", "F32"):
        rng = np.random.default_rng(1)
        found = []
        for trial in range(trials):
            shape = SHAPES[trial % len(SHAPES)]
            found.append(columns(rounded(rng.standard_normal(shape), dtype)))
        spikes = mean(row["spikes"] for row in found)
        none = mean(row["gd_rank"] == 0 for row in found)
        soft = median(row["mp_softrank"] for row in found)
        print(f"| {dtype} | {trials} | {spikes:.3f} | {none:.1%} | {soft:.3f} |")


def signals(trials: int) -> None:
    """Planted directions at `STRENGTH` times the threshold of detection."""
    rng = np.random.default_rng(2)
    off: dict[tuple[int, int], list[float]] = {shape: [] for shape in SHAPES}
    for trial in range(trials):
        rows, cols = SHAPES[trial % len(SHAPES)]
        rank = int(rng.integers(1, 6))
        u = np.linalg.qr(rng.standard_normal((rows, rank)))[0]
        v = np.linalg.qr(rng.standard_normal((cols, rank)))[0]
        signal = STRENGTH * (rows * cols) ** 0.25 * u @ v.T
        found = columns(rng.standard_normal((rows, cols)) + signal)["spikes"]
        off[rows, cols].append(found - rank)
    right = mean(o == 0 for each in off.values() for o in each)
    print(f"\nranks 1 to 5 planted in such matrices, counted right: {right:.1%} of {trials}")
    print("\n| shape | right | too few | too many |\n|---|---|---|---|")
    for (rows, cols), each in off.items():
        shares = (mean(o == 0 for o in each), mean(o < 0 for o in each), mean(o > 0 for o in each))
        if shares[0] < 1:
            print(f"| {rows} x {cols} | {' | '.join(f'{share:.1%}' for share in shares)} |")


def tails(trials: int) -> None:
    """Pareto laws: how often the interval holds the exponent."""
    rng, held, widths = np.random.default_rng(3), 0, []
    for trial in range(trials):
        alpha = rng.uniform(2, 5)
        interval = bootstrap_interval(np.sort(rng.pareto(alpha - 1, TAIL) + 1), trial)
        assert interval is not None
        held += interval.low <= alpha <= interval.high
        widths.append(interval.high - interval.low)
    print(
        f"\n90 % interval of alpha, {TAIL} values, alpha 2 to 5: held in {held / trials:.1%}",
        end="",
    )
    print(f" of {trials} trials, median width {median(widths):.2f}")


def search() -> None:
    """Time of the exact search over every xmin."""
    print("\n| eigenvalues | search, ms | interval, ms |\n|---|---|---|")
    rng = np.random.default_rng(4)
    for size in (576, 1024, 2048, 4096):
        values = np.sort(rng.pareto(1.5, size) + 1)
        searches = []
        for _ in range(7):
            began = time.perf_counter()
            fit_power_law(values)
            searches.append(time.perf_counter() - began)
        began = time.perf_counter()
        bootstrap_interval(values, 0)
        took = time.perf_counter() - began
        print(f"| {size:,} | {1e3 * median(searches):.1f} | {1e3 * took:.0f} |")


@click.command()
@click.option("--trials", default=200, show_default=True)
def main(trials: int) -> None:
    """Print what the metrics make of noise and of planted truth."""
    print(f"{date.today()}, {trials} trials each\n")
    with threadpool_limits(1, user_api="blas"):
        noise(trials)
        signals(trials)
        tails(trials)
        search()


if __name__ == "__main__":
    main()
