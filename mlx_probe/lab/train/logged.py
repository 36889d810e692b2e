"""The progress of a training that other tools follow, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.lab.train.progress import TrainProgress
from mlx_probe.runs.exporters.live import LiveLogs, LogTarget

__all__ = ["logged_progress"]


def logged_progress(
    progress: TrainProgress, targets: Sequence[LogTarget], folder: Path
) -> TrainProgress:
    """A progress that also logs every step; the same one where there is nothing to log to.

    Args:
        progress: Follows the run.
        targets: Where to log.
        folder: The run folder.
    """
    return _Logged(progress, targets, folder) if targets else progress


class _Logged(TrainProgress):
    def __init__(self, progress: TrainProgress, targets: Sequence[LogTarget], folder: Path) -> None:
        self._progress = progress
        self._logs = LiveLogs(targets, folder, lambda text: progress.alert(text, True))

    def begin(self, facts: Mapping[str, Any], step: int, steps: int) -> None:
        self._progress.begin(facts, step, steps)
        self._logs.begin()

    def phase(self, what: str, done: float = 0.0, total: float = 0.0) -> None:
        self._progress.phase(what, done, total)

    def step(self, metrics: Mapping[str, Any]) -> None:
        self._progress.step(metrics)
        self._logs.log(metrics)

    def sample(self, step: int, text: str) -> None:
        self._progress.sample(step, text)

    def alert(self, text: str, is_warning: bool) -> None:
        self._progress.alert(text, is_warning)

    def end(self) -> None:
        self._logs.end()
        self._progress.end()
