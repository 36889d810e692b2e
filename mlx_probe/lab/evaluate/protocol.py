"""What a task is: one record in `TASKS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.lab.evaluate.config import EvaluateConfig

if TYPE_CHECKING:
    from mlx_probe.lab.evaluate.answers.config import AnswerConfig
    from mlx_probe.lab.evaluate.answers.prediction import Prediction
    from mlx_probe.lab.evaluate.answers.question import Question
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["AnswerTask", "Judged", "OnProgress", "RunTask", "Task"]

# Called with what is done and the whole, in tokens.
OnProgress = Callable[[int, int], None]

# Given the model, the data's path or reference, the settings: the task's own values, for JSON.
RunTask = Callable[["LoadedModel", str, EvaluateConfig, OnProgress], Mapping[str, Any]]


@dataclass(frozen=True)
class Task:
    """A task that needs the model itself.

    Attributes:
        title: What it measures, for people.
        run: Measures it.
    """

    title: str
    run: RunTask


@dataclass(frozen=True)
class Judged:
    """What the answers are worth.

    Attributes:
        values: The task's own values, for JSON.
        items: Of each question, in their order: "id", "category", "question", "wanted", "answer",
            "values" by metric (right or wrong, a number, or null where it does not apply),
            "error" and "detail".
    """

    values: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class AnswerTask:
    """A task that asks questions, whoever answers.

    Attributes:
        title: What it measures, for people.
        data: Where its questions are unless others are named; None if it has none.
        questions: Reads them, by source and settings.
        judge: Judges the answers by question; a question without an answer counts as wrong.
    """

    title: str
    data: str | None
    questions: Callable[[str, AnswerConfig], list[Question]]
    judge: Callable[[Sequence[Question], Mapping[str, Prediction], AnswerConfig], Judged]
