"""Running a task on a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.device import device_label
from mlx_probe.lab.evaluate import TASKS
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.run import evaluate_answers
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.protocol import OnProgress, Task
from mlx_probe.lab.evaluate.record import KIND, refuse_folder, write_text_run
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.runs.small_run import SmallRun

__all__ = ["evaluate"]


def evaluate(
    model: str | os.PathLike[str] | None,
    data: str | os.PathLike[str] | None = None,
    task: str = "perplexity",
    config: EvaluateConfig | AnswerConfig | None = None,
    on_progress: OnProgress = lambda done, total: None,
    out: str | os.PathLike[str] | None = None,
    predictions: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on the device that MLX computes on, or one behind an address.

    Args:
        model: See `load_model`. Tasks that ask questions also take the address of an
            OpenAI-compatible server, and None with ``predictions``.
        data: For "perplexity" a folder of `mlx-probe data tokenize`, or a source of text. For
            "function-calls" a folder of `mlx-probe data toolcalls`. For "bfcl" a folder of its
            files; None takes the package bfcl-eval.
        task: Key in `TASKS`.
        config: Settings: `AnswerConfig` for tasks that ask questions, otherwise `EvaluateConfig`.
        on_progress: Called with what is done and the whole: tokens, or questions.
        out: Run folder for the results. It keeps the answers of a task that asks questions; the
            same call goes on with what has no answer yet.
        predictions: File of answers to judge in place of a model's.

    Returns:
        The task's values, and what they were measured with, for JSON.

    Raises:
        ConfigError: A setting does not fit the model or the data.
        SourceError: Model or data cannot be had.
        CheckpointError: The model is damaged, or predicts NaN.
        ResultError: Answers cannot be read or written.
    """
    if task not in TASKS:
        raise ConfigError(f"unknown task {task!r}", f"Choose one of {', '.join(TASKS)}")
    chosen = TASKS[task]
    name = None if model is None else os.fspath(model)
    source = None if data is None else os.fspath(data)
    run, folder = SmallRun(KIND), None if out is None else Path(out)
    if folder is not None:
        refuse_folder(folder, task, not isinstance(chosen, Task))
    if not isinstance(chosen, Task):
        return evaluate_answers(
            task,
            chosen,
            name,
            source,
            folder,
            config if isinstance(config, AnswerConfig) else None,
            predictions,
            on_progress,
            run,
        )
    if name is None or source is None:
        raise ConfigError(f"task {task} needs a model and data", "Give both")
    loaded = load_model(name)
    settings = config if isinstance(config, EvaluateConfig) else EvaluateConfig()
    values = chosen.run(loaded, source, settings, on_progress)
    result = {
        "model": loaded.name,
        "task": task,
        "data": source,
        **values,
        "dtype": loaded.dtype,
        "device": device_label(),
        "runs_by": loaded.runs_by,
    }
    if folder is not None:
        write_text_run(run, folder, result, settings, loaded.folder)
    return result
