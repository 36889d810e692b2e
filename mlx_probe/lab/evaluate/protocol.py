"""What a task is: one record in `TASKS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.lab.evaluate.config import EvaluateConfig

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["OnProgress", "RunTask", "Task"]

# Called with what is done and the whole, in tokens.
OnProgress = Callable[[int, int], None]

# Given the model, the data's path or reference, the settings: the task's own values, for JSON.
RunTask = Callable[["LoadedModel", str, EvaluateConfig, OnProgress], Mapping[str, Any]]


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        title: What it measures, for people.
        run: Measures it.
    """

    title: str
    run: RunTask
