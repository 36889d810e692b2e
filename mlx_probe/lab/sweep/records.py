"""Trials of a sweep, what became of them, and which is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.lab.sweep.config import SweepConfig
from mlx_probe.runs.experiments.records import Experiment

__all__ = ["Outcome", "SweepResult", "Trial", "plan_trials"]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        number: From 1.
        values: Its settings, as text for the command.
        folder: Its run folder.
        log: The file of its messages.
    """

    number: int
    values: Mapping[str, str]
    folder: Path
    log: Path

    def words(self, command: Sequence[str]) -> list[str]:
        """The words behind `mlx-probe`.

        Args:
            command: That of the sweep.
        """
        words = list(command)
        for name, value in self.values.items():
            if name.startswith("--"):
                flags = {"true": [name], "false": []}
                words += flags.get(value, [f"{name}={value}"])
            else:
                words += ["--set", f"{name}={value}"]
        return [*words, "--out", str(self.folder)]


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        trial: The trial.
        state: "finished", "failed", or "waiting" if it has not ended.
        value: The metric that counts; None where there is none.
        seconds: What it took, where that is known.
        reason: Why it failed.
        experiment: What its folder says; None where it says nothing.
    """

    trial: Trial
    state: str
    value: float | None = None
    seconds: float | None = None
    reason: str = ""
    experiment: Experiment | None = None

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "trial": self.trial.number,
            "state": self.state,
            "value": self.value,
            "seconds": self.seconds,
            "settings": dict(self.trial.values),
            "folder": str(self.trial.folder),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class SweepResult:
    """All trials of a sweep.

    Attributes:
        folder: Its folder.
        config: Its configuration.
        outcomes: In the order of the trials.
    """

    folder: Path
    config: SweepConfig
    outcomes: tuple[Outcome, ...]

    @property
    def finished(self) -> list[Outcome]:
        """Trials that have a value."""
        return [each for each in self.outcomes if each.value is not None]

    @property
    def failed(self) -> list[Outcome]:
        """Trials that have none, and why."""
        return [each for each in self.outcomes if each.state == "failed"]

    @property
    def best(self) -> Outcome | None:
        """The best trial, of equal ones the first; None where none has a value."""
        sign = 1 if self.config.better == "min" else -1
        return min(self.finished, key=lambda each: sign * (each.value or 0.0), default=None)

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        best = self.best
        return {
            "folder": str(self.folder),
            "metric": self.config.metric,
            "direction": self.config.better,
            "best": None if best is None else best.describe(),
            "trials": [
                {
                    **each.describe(),
                    "command": ["mlx-probe", *each.trial.words(self.config.command)],
                }
                for each in self.outcomes
            ],
        }


def plan_trials(config: SweepConfig, folder: Path) -> list[Trial]:
    """The trials of a sweep.

    Args:
        config: Its configuration.
        folder: Its folder.

    Raises:
        ConfigError: There are too many, or nobody knows how many.
    """
    settings = list(config.settings())
    digits = max(3, len(str(len(settings))))
    names = [f"{number:0{digits}}" for number in range(1, len(settings) + 1)]
    return [
        Trial(number, values, folder / "trials" / name, folder / "logs" / f"{name}.log")
        for number, (name, values) in enumerate(zip(names, settings, strict=True), 1)
    ]
