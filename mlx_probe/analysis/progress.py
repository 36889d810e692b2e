"""What an analysis reports to its caller while it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mlx_probe.analysis.plan import Plan
from mlx_probe.checkpoint import Weight
from mlx_probe.runs.monitor import Usage

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """What `analyze` tells while it works. Every method may be called from any thread."""

    def begin(self, plan: Plan, finished: Sequence[int]) -> None:
        """The plan is made; some rows are there from an earlier run."""

    def start(self, weight: Weight) -> None:
        """A weight's turn has come."""

    def finish(self, weight: Weight, usage: Usage) -> None:
        """A weight's row is on disk."""

    def tell(self, text: str, is_warning: bool) -> None:
        """A rule is broken or kept again; the text may hold anything."""

    def end(self) -> None:
        """No more weights, for whatever reason."""


class Silent:
    """Progress that nobody watches."""

    def begin(self, plan: Plan, finished: Sequence[int]) -> None:
        """Ignored."""

    def start(self, weight: Weight) -> None:
        """Ignored."""

    def finish(self, weight: Weight, usage: Usage) -> None:
        """Ignored."""

    def tell(self, text: str, is_warning: bool) -> None:
        """Ignored: it is in the log."""

    def end(self) -> None:
        """Ignored."""
