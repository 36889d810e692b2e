"""What a finished training run is checked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import mlx.core as mx

from mlx_probe.lab.train.metrics_file import metric_rows
from mlx_probe.lab.train.state import TrainState
from mlx_probe.runs.check import Check

__all__ = ["check_run"]


def check_run(metrics: Path, state: TrainState, weights: Mapping[str, mx.array]) -> list[Check]:
    """The checks of a run.

    Args:
        metrics: metrics.jsonl.
        state: After the last step.
        weights: The final ones.
    """
    steps, wrong = [], []
    for row in metric_rows(metrics):
        steps.append(row.values["step"])
        numbers = [value for value in row.values.values() if isinstance(value, float)]
        if not all(map(math.isfinite, numbers)):
            wrong.append(steps[-1])
    broken = [name for name, weight in weights.items() if not mx.isfinite(weight).all().item()]
    return [
        Check(
            "metrics",
            steps == list(range(state.step + 1)),
            f"{len(steps)} lines for step 0 to {state.step}",
        ),
        Check(
            "numbers",
            not wrong,
            f"not finite at step {wrong[0]}" if wrong else "all finite",
        ),
        Check(
            "weights",
            not broken,
            f"NaN or infinity in {broken[0]}" if broken else f"{len(weights)} tensors, all finite",
        ),
    ]
