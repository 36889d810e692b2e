"""What a finished training run is checked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import mlx.core as mx

from mlx_probe.lab.train.state import TrainState
from mlx_probe.runs.check import Check
from mlx_probe.runs.exporters.metrics import read_metrics

__all__ = ["check_run"]


def check_run(run: Path, state: TrainState, weights: Mapping[str, mx.array]) -> list[Check]:
    """The checks of a run.

    Args:
        run: The run folder.
        state: After the last step.
        weights: The final ones.
    """
    steps, wrong = [], []
    for values in read_metrics(run):
        steps.append(values["step"])
        numbers = [value for value in values.values() if value is not None]
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
