"""Snapshots are measured by the engine, one after the other."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from mlx_probe.analysis.analyze import analyze
from mlx_probe.analysis.progress import Silent
from mlx_probe.checkpoint import Weight
from mlx_probe.core.errors import ProbeError
from mlx_probe.lab.train.watch.folder import SnapshotFolder
from mlx_probe.lab.train.watch.ledger import Event, append_event
from mlx_probe.lab.train.watch.order import next_to_measure
from mlx_probe.lab.train.watch.over_time import write_over_time
from mlx_probe.lab.train.watch.pace import Pace, cpu_seconds
from mlx_probe.runs.monitor.watch import WatchConfig

__all__ = ["Measuring"]

# Training is the job to follow, and its monitor the one with rules.
_QUIET = WatchConfig(alert=(), interval=5.0, listed=False)

_log = logging.getLogger(__name__)


class _Paced(Silent):
    """Waits before each weight."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def start(self, weight: Weight) -> None:
        """Wait until the work so far is within the share."""
        self._pace.wait()


class Measuring:
    """Measures the snapshots of a run, one after the other.

    Args:
        run: Folder of the training run.
        metrics: Metric set.
        pace: The share of the machine.
        while_training: Whether training goes on: then the newest snapshot comes first, by one
            worker; otherwise the oldest, by as many as the machine has cores.
    """

    def __init__(self, run: Path, metrics: str, pace: Pace, while_training: bool) -> None:
        self._run, self._folder, self._pace = run, SnapshotFolder(run), pace
        self._metrics, self._while_training = metrics, while_training
        self._failed: set[int] = set()
        self._skipped: set[int] = set()

    def begin(self) -> None:
        """Measure again what an earlier process measured of other weights or in another way."""
        for step in self._folder.refuse_measurements(self._metrics):
            _log.info("step %d: measured again, for its measurement is not of these weights", step)
        write_over_time(self._run)

    def measure_next(self) -> bool:
        """Measure a snapshot.

        Returns:
            Whether there was one.
        """
        waiting = [s for s in self._folder.unmeasured() if s not in self._failed]
        if not waiting:
            return False
        if self._while_training:
            step = next_to_measure(waiting, self._folder.measured())
            self._note_skipped([older for older in waiting if older < step], step)
        else:
            step = waiting[0]
        self._measure(step)
        self._pace.wait()
        return True

    def _measure(self, step: int) -> None:
        began, used = time.monotonic(), cpu_seconds()
        settings: dict[str, Any] = {"metrics": self._metrics, "backend": "numpy"}
        try:
            analyze(
                self._folder.snapshot(step),
                out=self._folder.analysis(step),
                formats=("parquet",),
                watch=_QUIET,
                progress=_Paced(self._pace),
                workers=1 if self._while_training else 0,
                **settings,
            )
            reason = None
        except Exception as error:
            # Also one of the engine's own: the other snapshots can be measured.
            reason = error.fact if isinstance(error, ProbeError) else repr(error)
            self._failed.add(step)
            _log.warning("step %d: not measured: %s", step, reason, exc_info=error)
        seconds, cpu = time.monotonic() - began, cpu_seconds() - used
        if reason is not None:
            self._note(Event(step, "failed", self._while_training, seconds, cpu, reason))
            return
        self._note(Event(step, "measured", self._while_training, seconds, cpu))
        _log.info("step %d: measured in %.1f s", step, seconds)
        write_over_time(self._run)

    def _note_skipped(self, steps: list[int], newer: int) -> None:
        for step in steps:
            if step not in self._skipped:
                self._skipped.add(step)
                _log.info("step %d: waits, for step %d is newer", step, newer)
                reason = f"step {newer} is newer"
                self._note(Event(step, "skipped", self._while_training, reason=reason))

    def _note(self, event: Event) -> None:
        append_event(self._folder.path, event)
