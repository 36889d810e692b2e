"""Monitoring a long job: samples once a second, rules that warn, pause or stop, followers."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from mlx_probe.compute.calibration import load_calibration
from mlx_probe.core.errors import ProbeError
from mlx_probe.core.files import write_error
from mlx_probe.core.machine import usable_cores
from mlx_probe.runs.monitor.accelerator import Accelerator
from mlx_probe.runs.monitor.gate import Gate
from mlx_probe.runs.monitor.guard import Guard
from mlx_probe.runs.monitor.jobs import JobRecord, register, scratch_lines, started_at
from mlx_probe.runs.monitor.readings import Readings, free_space
from mlx_probe.runs.monitor.rules import DEFAULT_RULES, Reference, Rule, parse_rule
from mlx_probe.runs.monitor.sample import JobState, Sample
from mlx_probe.runs.monitor.sampler import Sampler
from mlx_probe.runs.monitor.samples import SampleLog, write_recording

__all__ = ["JobMonitor", "WatchConfig"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchConfig:
    """How a job is monitored; it changes no result.

    Attributes:
        alert: Rules, as `parse_rule` reads them.
        prometheus: Port on the loopback on which Prometheus gets the samples; 0 for none.
        interval: Seconds between two samples.
        listed: Whether `mlx-probe monitor` finds the job without its folder: a job within
            another is not what its user looks for.
    """

    alert: tuple[str, ...] = DEFAULT_RULES
    prometheus: int = 0
    interval: float = 1.0
    listed: bool = True

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, without repetition.

        Raises:
            ConfigError: A text is not a rule.
        """
        return tuple(dict.fromkeys(map(parse_rule, self.alert)))


class JobMonitor:
    """Monitors a job between ``with`` and its end.

    The threads of the job call ``gate.wait()`` before they take more memory, disk or network. It
    waits while a rule pauses the job, and raises `Stopped` if a rule ends it.

    Args:
        kind: "analyze", "compare", "download" ...
        title: Name of the job's inputs.
        state: Returns how far the job is; called from the sampler's thread.
        config: Rules, interval, and Prometheus' port.
        gate: The gate of the job's threads; None for a new one.
        folder: Folder of the results.
        lines: File for the samples while the job runs; it stays unless `keep` is called. None
            for a file in the cache that is removed at the end.
        resume: Whether to continue ``lines``.
        device_memory: Bytes of device memory in use and at the peak.
        on_alert: Called with each message for the user, and whether it is a warning, from the
            sampler's thread; None for Python's logging.

    Attributes:
        gate: See above.
        job: The job as others see it.
    """

    def __init__(
        self,
        kind: str,
        title: str,
        state: Callable[[], JobState],
        *,
        config: WatchConfig | None = None,
        gate: Gate | None = None,
        folder: Path | None = None,
        lines: Path | None = None,
        resume: bool = True,
        device_memory: Callable[[], tuple[int, int]] | None = None,
        on_alert: Callable[[str, bool], None] | None = None,
    ) -> None:
        self._config, self.gate = config or WatchConfig(), gate or Gate()
        self._kind, self._title, self._state = kind, title, state
        self._folder, self._resume = folder, resume
        self._lines, self._keeps_lines = lines or scratch_lines(), lines is not None
        self._device_memory, self._on_alert = device_memory, on_alert or _to_log
        self._log: SampleLog | None = None
        self._log_failed = self._finished = False
        self._latest: Sample | None = None

    def __enter__(self) -> JobMonitor:
        rules = self._config.rules
        self._reference = self._known(rules)
        self._guard = Guard(rules, self._reference, self.gate, self._on_alert)
        with ExitStack() as stack:
            self._log = self._open_log()
            if self._log is not None:
                stack.callback(self._log.close)
            if not self._keeps_lines:
                stack.callback(_remove, self._lines)
            session = self._log.session if self._log else 0
            self.job = self._describe(session)
            self._note(lambda log: log.begin(self.job))
            if self._config.prometheus:
                # Imported here: the import takes time, and few users need it.
                from mlx_probe.runs.monitor.prometheus import serving

                stack.enter_context(
                    serving(self._config.prometheus, lambda: self._latest, self.job)
                )
            accelerator = stack.enter_context(Accelerator())
            self._readings = Readings(
                self._state, self._device_memory, self._folder, session, accelerator
            )
            # Removed last: followers take it for a sign that the job runs.
            registered = register(self.job) if self._config.listed else None
            if registered is not None:
                stack.callback(_remove, registered)
            self._sampler = Sampler(self._look, self._config.interval, self.gate.resume)
            # At once: a rule that is broken from the beginning stops the job before it begins.
            self._look()
            self._sampler.__enter__()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None:
            # Otherwise threads that still run would wait for a sampler that has ended.
            self.gate.stop("the job has ended", "Run the same command again")
        try:
            self._finish()
        finally:
            self._stack.close()

    @property
    def sampler(self) -> Sampler:
        """The thread that takes the samples."""
        return self._sampler

    def keep(self, path: Path) -> dict[str, Any]:
        """End the monitoring and write the finished file.

        Args:
            path: The Parquet file.

        Returns:
            For the metadata: the file's name, null if the disk refused it; counts and alerts.
        """
        self._finish()
        summary: dict[str, Any] = {
            "file": None,
            "samples": 0,
            "sessions": self.job.session + 1,
            "interval": self._config.interval,
            "rules": list(self.job.rules),
            "alerts": [episode.describe() for episode in self._guard.episodes],
            "paused_seconds": self.gate.paused_seconds,
        }
        try:
            summary["samples"] = write_recording(self._lines, path)
            summary["file"] = path.name
            self._lines.unlink()
        except OSError as error:
            self._on_alert(write_error(self._lines, error).fact, True)
        except ProbeError as error:
            # No failure of the job: its results are written elsewhere.
            self._on_alert(f"the samples are not kept: {error.fact}", True)
        return summary

    def _look(self) -> None:
        sample = self._readings.look(self.gate.state)
        alerts = self._guard.take(sample)
        self._keep(replace(sample, state=self.gate.state, alerts=alerts))

    def _keep(self, sample: Sample) -> None:
        self._latest = sample
        self._note(lambda log: log.append(sample))

    def _finish(self) -> None:
        """Take a last sample, and end the sampler."""
        if self._finished:
            return
        self._finished = True
        self._sampler.__exit__()
        alerts = self._latest.alerts if self._latest else ()
        self._keep(replace(self._readings.look(self.gate.state), alerts=alerts))

    def _open_log(self) -> SampleLog | None:
        try:
            return SampleLog(self._lines, self._resume)
        except OSError as error:
            self._on_alert(f"no samples are kept: {write_error(self._lines, error).fact}", True)
            return None

    def _note(self, write: Callable[[SampleLog], None]) -> None:
        """Write to the file; if the disk refuses, samples are lost and the job goes on."""
        if self._log is None:
            return
        try:
            write(self._log)
        except OSError as error:
            if not self._log_failed:
                fact = write_error(self._log.path, error).fact
                self._on_alert(f"{fact}; the job goes on without these samples", True)
            self._log_failed = True

    def _describe(self, session: int) -> JobRecord:
        return JobRecord(
            pid=os.getpid(),
            process_started=started_at(),
            kind=self._kind,
            title=self._title,
            folder="" if self._folder is None else str(self._folder.absolute()),
            samples=str(self._lines.absolute()),
            created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            session=session,
            interval=self._config.interval,
            cores=usable_cores(),
            memory=self._reference.memory or 0,
            copy_bandwidth=self._reference.copy_bandwidth,
            rules=tuple(rule.text for rule in self._config.rules),
        )

    def _known(self, rules: tuple[Rule, ...]) -> Reference:
        # Measured only if a rule needs it; a figure from an earlier run costs nothing.
        needed = any(rule.quantity == "bandwidth" and rule.is_share for rule in rules)
        disk = None
        if self._folder is not None:
            with suppress(OSError):
                disk = free_space(self._folder)[1]
        return Reference(
            memory=psutil.virtual_memory().total,
            disk=disk,
            copy_bandwidth=load_calibration(rates=needed).copy_bandwidth,
        )


def _to_log(text: str, is_warning: bool) -> None:
    _log.log(logging.WARNING if is_warning else logging.INFO, "%s", text)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
