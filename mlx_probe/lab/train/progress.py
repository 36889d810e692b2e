"""What follows a training run while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Silent", "TrainProgress"]


class TrainProgress:
    """Follows a run; every method may be left as it is."""

    def begin(self, facts: Mapping[str, Any], step: int, steps: int) -> None:
        """Training begins.

        Args:
            facts: "parameters", "device", "compiled", "data" and others, as in the metadata.
            step: Steps that are done already.
            steps: All steps.
        """

    def phase(self, what: str, done: float = 0.0, total: float = 0.0) -> None:
        """Something beside the steps is under way.

        Args:
            what: Such as "tokenizing", "evaluating", "measuring snapshots".
            done: How much of it is done.
            total: Of how much; 0 if that is not known.
        """

    def step(self, metrics: Mapping[str, Any]) -> None:
        """A step is done: its line of metrics.jsonl."""

    def sample(self, step: int, text: str) -> None:
        """A sample was written."""

    def alert(self, text: str, is_warning: bool) -> None:
        """The run has something to say to the user; called from any thread."""

    def end(self) -> None:
        """Training has ended, in whatever way."""


class Silent(TrainProgress):
    """Shows nothing."""
