"""The progress of an analysis, reported to its caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mlx_probe.analysis.plan import Plan
from mlx_probe.checkpoint import Weight
from mlx_probe.runs.monitor import Usage

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """`analyze` calls these methods while it works, from any thread."""

    def begin(self, plan: Plan, finished: Sequence[int]) -> None:
        """The plan is made; ``finished`` are the rows of an earlier run."""

    def start(self, weight: Weight) -> None:
        """A weight is measured next."""

    def finish(self, weight: Weight, usage: Usage) -> None:
        """A weight's row is on disk."""

    def alert(self, text: str, is_warning: bool) -> None:
        """A rule is broken or kept again; the text may contain any character."""

    def end(self) -> None:
        """No more weights are measured: all are finished, or the run ends."""


class Silent:
    """Progress that reports nothing."""

    def begin(self, plan: Plan, finished: Sequence[int]) -> None:
        """Ignored."""

    def start(self, weight: Weight) -> None:
        """Ignored."""

    def finish(self, weight: Weight, usage: Usage) -> None:
        """Ignored."""

    def alert(self, text: str, is_warning: bool) -> None:
        """Ignored: it is in the log."""

    def end(self) -> None:
        """Ignored."""
