"""Running a task on a model."""

from __future__ import annotations

import os
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.device import device_label
from mlx_probe.lab.evaluate import TASKS
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.protocol import OnProgress
from mlx_probe.lab.generate.loading import load_model

__all__ = ["evaluate"]


def evaluate(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    task: str = "perplexity",
    config: EvaluateConfig | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, Any]:
    """Evaluate a model on the device that MLX computes on.

    Args:
        model: See `load_model`.
        data: A folder of `mlx-probe data tokenize`, or a source of text.
        task: Key in `TASKS`.
        config: Settings.
        on_progress: Called with tokens done and tokens to do.

    Returns:
        The task's values, and what they were measured with, for JSON.

    Raises:
        ConfigError: A setting does not fit the model or the data.
        SourceError: Model or data cannot be had.
        CheckpointError: The model is damaged, or predicts NaN.
    """
    if task not in TASKS:
        raise ConfigError(f"unknown task {task!r}", f"Choose one of {', '.join(TASKS)}")
    loaded = load_model(model)
    source = os.fspath(data)
    values = TASKS[task].run(loaded, source, config or EvaluateConfig(), on_progress)
    return {
        "model": loaded.name,
        "task": task,
        "data": source,
        **values,
        "dtype": loaded.dtype,
        "device": device_label(),
        "runs_by": loaded.runs_by,
    }
