"""How often alpha's 90 % interval holds the exponent of a known power law.

    python benchmarks/coverage.py [--trials N]

Two rules on the same resamples: that of the product, which takes the fifth of 99 exponents from
either end, and the quantiles of 200, which it took before. Seeded: the same figures every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median

import click
import numpy as np
from _results import out_option, publish, rounded
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.metrics.resampling import RESAMPLES, Bootstrap, Interval

COLUMNS = ("values", "interval", "holds alpha, %", "width, median", "at most 2 wide, %")
Row = tuple[str, str, float, float, float]

# Values of a planted power law, and of others below its beginning.
TAILS = ((1000, 0), (500, 0), (100, 0), (150, 450), (40, 160))
BEFORE = 200
# Of the exponents; each trial has its own.
ALPHAS = (2.0, 5.0)


def planted(rng: np.random.Generator, alpha: float, tail: int, body: int) -> NDArray[np.float64]:
    """Values of a power law from 1 on, above others that are spread evenly below it."""
    return np.sort(np.concatenate((rng.random(body), rng.pareto(alpha - 1, tail) + 1)))


def intervals(values: NDArray[np.float64], trial: int) -> tuple[Interval, Interval]:
    """By the rule of the product, and by the one before."""
    seeds = range(3 * trial, 3 * trial + -(-BEFORE // RESAMPLES))
    bootstraps = [Bootstrap(values, seed) for seed in seeds]
    first = bootstraps[0].interval()
    assert first is not None
    drawn = np.concatenate([bootstrap.exponents() for bootstrap in bootstraps])[:BEFORE]
    return first, Interval(*np.quantile(drawn, [0.05, 0.95]).tolist())


def rows(trials: int) -> Iterator[Row]:
    """What both rules say of every case."""
    for tail, body in TAILS:
        rng = np.random.default_rng(3)
        seen: dict[str, list[tuple[float, Interval]]] = {"99 resamples": [], "200, before": []}
        for trial in range(trials):
            alpha = rng.uniform(*ALPHAS)
            pair = intervals(planted(rng, alpha, tail, body), trial)
            for rule, interval in zip(seen.values(), pair, strict=True):
                rule.append((alpha, interval))
        case = f"{tail} of a power law" + (f" above {body} others" if body else "")
        for name, rule in seen.items():
            widths = [interval.high - interval.low for _, interval in rule]
            holds = mean(interval.low <= alpha <= interval.high for alpha, interval in rule)
            narrow = mean(width <= 2 for width in widths)
            shares = rounded(100 * holds), rounded(median(widths)), rounded(100 * narrow)
            yield case, name, *shares


@click.command()
@click.option("--trials", default=2000, show_default=True)
@out_option
def main(trials: int, out: Path) -> None:
    """Measure the coverage of alpha's interval on planted laws."""
    with threadpool_limits(1, user_api="blas"):
        table = list(rows(trials))
    error = rounded(100 * (0.9 * 0.1 / trials) ** 0.5, 1)
    note = (
        f"alpha between {ALPHAS[0]} and {ALPHAS[1]}, {trials:,} trials of each case: the standard "
        f"error of a share near 90 % is {error} %."
    )
    publish("coverage", COLUMNS, table, note, out)


if __name__ == "__main__":
    main()
