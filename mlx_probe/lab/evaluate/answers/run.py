"""A task that asks questions, from the model to the result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.answers.address import ServedModel, is_address
from mlx_probe.lab.evaluate.answers.ask import Answerer, ask_all
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.folder import claim, finish
from mlx_probe.lab.evaluate.answers.prediction import Prediction, read_predictions
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.evaluate.protocol import AnswerTask
from mlx_probe.lab.evaluate.record import KIND, record_evaluation
from mlx_probe.lab.model_input import model_input
from mlx_probe.runs.answers import PREDICTIONS
from mlx_probe.runs.experiments.records import Input
from mlx_probe.runs.small_run import SmallRun, data_input

__all__ = ["evaluate_answers"]


def evaluate_answers(
    name: str,
    task: AnswerTask,
    model: str | None,
    data: str | None,
    out: Path | None = None,
    config: AnswerConfig | None = None,
    predictions: str | os.PathLike[str] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    run: SmallRun | None = None,
) -> dict[str, Any]:
    """Ask, and judge the answers.

    Args:
        name: Of the task.
        task: The task.
        model: A model's reference, or an address; None with ``predictions``.
        data: Where the questions are; None for the task's own.
        out: Folder for answers and results. Answers that it has are not asked for again.
        config: Settings.
        predictions: A file of answers that were made elsewhere.
        on_progress: Called with questions answered and all of them.
        run: The command, where it began before; None if it begins here.

    Returns:
        The results, for JSON.

    Raises:
        ConfigError: Settings that do not fit the data, the model or the folder.
        SourceError: Data, model or server cannot be had.
        ResultError: Predictions or folder cannot be read or written.
        Interrupted: The user stopped it.
    """
    config, run = config or AnswerConfig(), run or SmallRun(KIND)
    source = data or task.data
    if source is None:
        raise ConfigError(f"task {name} has no questions of its own", "Give some with --data")
    questions = task.questions(source, config)
    if not questions:
        raise ConfigError(f"{source} holds no question to ask", "Choose others with --items")
    start = time.perf_counter()
    if predictions is not None:
        found = _of_file(Path(predictions), questions)
        facts: dict[str, Any] = {"device": None, "dtype": None, "runs_by": None}
        who = os.fspath(predictions)
    elif model is not None:
        answerer: Answerer
        if is_address(model):
            answerer = ServedModel(model, config)
        else:
            from mlx_probe.lab.evaluate.answers.local import LocalModel

            answerer = LocalModel(model, config)
        if out is not None:
            claim(out, {"task": name, **answerer.identity(), **_settings(config)})
        found = ask_all(questions, answerer, out / PREDICTIONS if out else None, on_progress)
        facts, who = dict(answerer.facts()), answerer.name
    else:
        raise ConfigError("nothing answers the questions", "Give a model, or --predictions")
    judged = task.judge(questions, found, config)
    results = {
        "model": who,
        "task": name,
        "data": source,
        "items": len(questions),
        "answered": len(found),
        "cut_off": sum(each.finish_reason in ("length", "too_long") for each in found.values()),
        **judged.values,
        "settings": {**_settings(config), "items": config.items, "split": config.split},
        **facts,
        "seconds": time.perf_counter() - start,
    }
    if out is not None:
        finish(out, judged.items, results)
        inputs = [_asked(model, who), data_input(source)]
        record_evaluation(run, out, results, config, inputs)
    return results


def _asked(model: str | None, who: str) -> Input:
    """What answered: a model, an address, or a file of answers."""
    return data_input(who) if model is None else model_input("model", model)


def _settings(config: AnswerConfig) -> dict[str, Any]:
    """What decides the answers."""
    return {
        "prompting": config.prompting,
        "system": config.system,
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "seed": config.seed,
    }


def _of_file(path: Path, questions: list[Question]) -> dict[str, Prediction]:
    found = read_predictions(path)
    known = {question.id for question in questions}
    if not known & found.keys():
        raise ConfigError(
            f"{path} answers none of the questions: it has {', '.join(list(found)[:3]) or 'none'}",
            f"Give the ids of the data, such as {questions[0].id}",
        )
    return {id: prediction for id, prediction in found.items() if id in known}
