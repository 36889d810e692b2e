"""How a run goes, for those who are told of it and those who look on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from mlx_probe.analysis.plan import Plan
from mlx_probe.checkpoint import Weight
from mlx_probe.runs.monitor import Usage, UsageMeter
from mlx_probe.runs.monitor.sample import JobState

__all__ = ["JobProgress", "Progress", "Silent"]

_log = logging.getLogger(__name__)


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


class JobProgress:
    """A run's course: told to its progress on one side, to those who watch on the other.

    Args:
        plan: What is measured.
        meter: Counts what it takes.
        progress: Is told.

    Attributes:
        plan: See above.
        meter: See above.
        stage: What is under way: a weight's label, or what comes after the weights.
    """

    def __init__(self, plan: Plan, meter: UsageMeter, progress: Progress) -> None:
        self.plan, self.meter, self._progress = plan, meter, progress
        self._total = sum(weight.nbytes for weight in plan.weights)
        self._done = 0
        self.stage = ""

    def state(self) -> JobState:
        """How far it is now."""
        read = self.meter.work("read")
        return JobState(self._done, self._total, self.stage, read.bytes, read.seconds)

    def resume(self, finished: Iterable[int]) -> None:
        """Some rows are there from an earlier run."""
        self._done = sum(self.plan.weights[i].nbytes for i in finished)

    def begin(self, finished: Sequence[int]) -> None:
        """The measuring begins."""
        self._progress.begin(self.plan, finished)

    def start(self, weight: Weight) -> None:
        """A weight's turn has come."""
        self.stage = weight.label
        self._progress.start(weight)

    def finish(self, weight: Weight) -> None:
        """A weight's row is on disk."""
        self._done += weight.nbytes
        self._progress.finish(weight, self.meter.usage())

    def tell(self, text: str, is_warning: bool) -> None:
        """To the log and to the user."""
        _log.log(logging.WARNING if is_warning else logging.INFO, "%s", text)
        self._progress.tell(text, is_warning)

    def end(self) -> None:
        """No more weights, for whatever reason."""
        self.stage = "heads and experts" if self.plan.config.metrics == "full" else ""
        self._progress.end()
