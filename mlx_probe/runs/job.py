"""The life of a job: the skeleton of every command that takes long and leaves a run.

    job = Job("compare", watch=watch, resume=resume)    # refuses a wrong rule
    with opened(inputs) as inputs:
        job.begin("measure")
        with job.running(JobSpec(...)):                 # folder, log, lock, journal, monitor
            job.write_plan(...)
            for row in work(inputs, job.journal.rows, job.meter):
                job.append(row, row.values["name"], "ok")
            job.refuse_changed(...)
            job.begin("validate")
            checks = ...
            job.begin("write")
            return job.finish(..., checks, outputs)     # cost account and metadata

The records of a job are rows of declared columns: tensors, pairs of tensors, steps of a training
run, tasks of an evaluation. A record is on disk when `Job.append` returns; after Ctrl-C, a rule
that stops, a full disk or `kill -9` the same command goes on from there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from mlx_probe.compute.calibration import load_calibration
from mlx_probe.core.errors import Interrupted, ProbeError
from mlx_probe.core.records import Column, Row
from mlx_probe.core.version import __version__
from mlx_probe.runs.check import Check
from mlx_probe.runs.claim import claimed
from mlx_probe.runs.contents import RUN
from mlx_probe.runs.cost import OPEN, binding_limit, stage_costs
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.folder import RunPaths
from mlx_probe.runs.identity import RunIdentity
from mlx_probe.runs.journal import Journal
from mlx_probe.runs.latest import point_latest
from mlx_probe.runs.log import log_file
from mlx_probe.runs.meta import columns_to_meta, write_meta
from mlx_probe.runs.monitor import Stage, Usage, UsageMeter
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.samples import MONITOR, lines_name
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig
from mlx_probe.runs.progress import JobProgress
from mlx_probe.runs.provenance import provenance
from mlx_probe.runs.run import Run
from mlx_probe.runs.starts import due_after, note_of, total_of

__all__ = ["Job", "JobSpec"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobSpec:
    """The inputs and outputs of a job, known before its first record.

    Attributes:
        title: Name of the inputs, for followers of the job.
        about: First lines of the log.
        paths: The files to write; the folder is decided when the job runs, see `claimed`.
        columns: Columns of the records.
        fingerprint: SHA-256 of everything that decides a record's values, with the inputs as
            they are now; a job resumes records with the same fingerprint only. May raise
            OSError if an input is gone.
        stages: The job's table of stages.
        described: "model" or "models", "configuration" and "stamps" (of the inputs' files), for
            messages about an earlier run in the same place.
        sides: Names of the tables that there may be beside the main one.
        sizes: Bytes to work through for each record, by its index, None for one that the job
            does not make; empty if that is not known.
        workers: Tasks at once.
        lanes: Tasks at once in a lane of the device; at most ``workers``.
        device_memory: Bytes of device memory in use and at the peak; None without a device.
    """

    title: str
    about: tuple[str, ...]
    paths: RunPaths
    columns: tuple[Column, ...]
    fingerprint: Callable[[], str]
    stages: Mapping[str, Stage]
    described: Mapping[str, Any] = field(default_factory=dict)
    sides: Collection[str] = ()
    sizes: Sequence[int | None] = ()
    workers: int = 1
    lanes: int = 1
    device_memory: Callable[[], tuple[int, int]] | None = None


class Job:
    """One job, from its start to its metadata.

    Args:
        kind: Name of the command ("analyze", "compare" ...): the metadata's key "kind".
        watch: Rules on the machine's resources, and where samples go; changes no result.
        resume: Whether to use the records of an interrupted job.
        overwrite: Whether to replace what is in the way where the user named a folder or file.
        on_alert: Called with every message of the monitor, and whether it is a warning, from any
            thread; None for the log alone.

    Attributes:
        paths: The files, in the folder that the job got. Within `running` only.
        meter: Counts the cost of the stages. Workers pass its gate. Within `running` only.
        journal: Has the finished records. Within `running` only.
        progress: How far the job is. Within `running` only.

    Raises:
        ConfigError: A rule is wrong; nothing has been fetched yet.
    """

    paths: RunPaths
    meter: UsageMeter
    journal: Journal
    progress: JobProgress

    def __init__(
        self,
        kind: str,
        *,
        watch: WatchConfig | None = None,
        resume: bool = True,
        overwrite: bool = False,
        on_alert: Callable[[str, bool], None] | None = None,
    ) -> None:
        self._kind, self._watch, self._resume = kind, watch or WatchConfig(), resume
        self._on_alert, self._overwrite = on_alert, overwrite
        _ = self._watch.rules  # raises for a wrong one
        # Of the beginning: a long run may see other code at its end.
        self._made = provenance()
        self._phase = OPEN
        self._since = self._began = time.perf_counter()
        self._note_due = due_after(0.0)
        self._seconds: dict[str, float] = {}

    def begin(self, phase: str, what: str | None = None) -> None:
        """End a phase and begin the next one: the metadata has the seconds of each.

        Args:
            phase: "validate", "write", or the job's name for its work. The first is "open".
            what: What followers see; None to leave it as it is.
        """
        now = time.perf_counter()
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now
        if what is not None:
            self.progress.what = what

    @contextmanager
    def running(self, spec: JobSpec) -> Iterator[None]:
        """Keep the folder, the log, the journal and the monitor open while the job runs.

        Args:
            spec: The inputs and outputs.

        Raises:
            Interrupted: Ctrl-C was pressed; finished records stay on disk.
            Stopped: A rule that stops was broken; finished records stay on disk.
            ResultError: The folder cannot be written, or another process works there.
        """
        self._spec, self._fingerprint = spec, spec.fingerprint()
        self._identity = RunIdentity(self._kind, self._fingerprint, spec.described)
        self.meter = UsageMeter(spec.stages, spec.device_memory)
        self.progress = JobProgress(spec.sizes, self.meter)
        with ExitStack() as stack:
            with claimed(spec.paths, self._identity, spec.sides, self._overwrite) as self.paths:
                path = self.paths.journal(self._fingerprint)
                stack.enter_context(log_file(self.paths.log))
                self.journal = stack.enter_context(
                    Journal(path, self._fingerprint, spec.columns, self._resume)
                )
            stack.enter_context(self.meter)
            # Called last of all, before the journal closes: also by an exception.
            stack.callback(self._note_cost)
            self._monitor = stack.enter_context(self._watched())
            try:
                yield
            except KeyboardInterrupt:
                _log.warning("interrupted after %s", self.progress.text)
                raise Interrupted(
                    f"interrupted; {self.progress.text} are saved in {path}",
                    "Run the same command again to go on from there",
                ) from None

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Write what the job is going to do, and the expected cost.

        Raises:
            ResultError: The disk refused.
        """
        described = {**self._identity.describe(), **self._made}
        write_meta(self.paths.plan, {**plan, RUN: described})

    def append(self, row: Row, label: str, outcome: str) -> None:
        """Put a finished record on disk, and a line in the log; see `append_all`.

        Args:
            row: The record.
            label: Its name in the log.
            outcome: Its status, for the log.
        """
        self.append_all([(row, label, outcome)])

    def append_all(self, records: Sequence[tuple[Row, str, str]]) -> None:
        """Put finished records on disk together, and a line of each in the log.

        A record replaces an earlier one with its index: a training run that resumes from a
        checkpoint repeats the steps after it.

        Args:
            records: Each with its name and its status in the log.

        Raises:
            ResultError: The disk refused; records appended before are safe.
        """
        self.journal.append(*(row for row, _, _ in records))
        for row, label, outcome in records:
            _log.info("%s: %s", label, outcome)
            self.progress.finish([row.index])
        self._note_when_due()

    def warn(self, text: str) -> None:
        """Tell the log and the caller what is wrong with the inputs, though the job goes on."""
        self._report_alert(text, True)

    def refuse_changed(self, error: ProbeError) -> None:
        """Raise an error if an input has changed since the job began.

        Records from before and after a change do not belong together.
        """
        try:
            same = self._spec.fingerprint() == self._fingerprint
        except OSError:
            same = False  # an input is gone
        if not same:
            raise error

    def finish(
        self,
        described: Mapping[str, Any],
        checks: Sequence[Check],
        outputs: Mapping[str, Mapping[str, Any]],
        seconds: Mapping[str, float],
    ) -> Run:
        """Write the metadata, which completes the run, and delete the journal.

        Args:
            described: The job's own part of the metadata.
            checks: Outcome of the validation.
            outputs: File name to size and hash, as `finalize` returns them.
            seconds: More entries for the key "seconds", beside the phases.

        Raises:
            ResultError: The disk refused; the journal stays.
        """
        self.begin("")
        paths = self.paths
        # Before the calibration, whose time and memory do not count.
        usage, paused = self.meter.usage(), self.meter.gate.paused_seconds
        total, stages = total_of(self.journal.starts, note_of(self._elapsed, usage))
        meta = {
            "kind": self._kind,
            **described,
            "code_version": __version__,
            "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **self._made,
            "environment": package_versions(),
            **_taken(usage),
            "columns": columns_to_meta(self._spec.columns),
            "fingerprint": self._fingerprint,
            "stamps": self._spec.described.get("stamps"),
            "resumed_rows": self._resumed,
            "seconds": {**self._seconds, **seconds},
            **self._cost(usage, paused),
            # Those above are of this start alone.
            "total": {**total, "stages": stage_costs(stages, load_calibration())},
            # Not an output: the samples are no result.
            MONITOR: self._monitor.keep(paths.side(MONITOR, "parquet")),
            "validation": {
                "passed": all(check.passed for check in checks),
                "checks": [asdict(check) for check in checks],
            },
            "outputs": outputs,
        }
        write_meta(paths.meta, meta)
        self.journal.discard()
        if paths.group is not None:
            point_latest(paths.folder)
        for check in checks:
            level = logging.INFO if check.passed else logging.ERROR
            _log.log(level, "%s: %s", check.name, check.detail)
        _log.info("written: %s", ", ".join(str(paths.folder / name) for name in outputs))
        return Run(paths.meta, meta)

    def _watched(self) -> JobMonitor:
        spec = self._spec
        for line in spec.about:
            _log.info("%s", line)
        # Before the first sample: otherwise an earlier process's work would count as this one's.
        self.progress.finish(self.journal.rows)
        self._resumed = len(self.journal.rows)
        if self._resumed:
            _log.info("resuming: %s are there", self.progress.text)
        return JobMonitor(
            self._kind,
            spec.title,
            self._state,
            config=self._watch,
            gate=self.meter.gate,
            folder=self.paths.folder,
            lines=self.paths.folder / lines_name(self.paths.stem, self._fingerprint),
            resume=self._resume,
            device_memory=spec.device_memory,
            on_alert=self._report_alert,
        )

    @property
    def _elapsed(self) -> float:
        """Seconds since this process began the job."""
        return time.perf_counter() - self._began

    def _state(self) -> JobState:
        """How far the job is, for the monitor, which asks once a second."""
        # Records may take long: the time of one that is never finished counts, too.
        self._note_when_due()
        return self.progress.state()

    def _note_when_due(self) -> None:
        if self._elapsed >= self._note_due:
            self._note_cost()

    def _note_cost(self) -> None:
        """Put the cost so far on disk: a process that is killed has no later chance."""
        elapsed = self._elapsed
        self._note_due = due_after(elapsed)
        self.journal.note(note_of(elapsed, self.meter.usage()))

    def _report_alert(self, text: str, is_warning: bool) -> None:
        _log.log(logging.WARNING if is_warning else logging.INFO, "%s", text)
        if self._on_alert is not None:
            self._on_alert(text, is_warning)

    def _cost(self, usage: Usage, paused: float) -> dict[str, Any]:
        """The part of the metadata with the cost of each stage, and the limit."""
        spec, calibration = self._spec, load_calibration(rates=True)
        limit = binding_limit(
            spec.stages, usage.stages, self._seconds, spec.workers, spec.lanes, paused
        )
        return {
            "stages": stage_costs(usage.stages, calibration),
            "limit": asdict(limit),
            "calibration": calibration.describe(),
        }


def _taken(usage: Usage) -> dict[str, Any]:
    """The part of the metadata with what the job took from the machine."""
    return {
        "bytes_read": usage.bytes_read,
        "mean_gbps": usage.mean_bandwidth / 1e9,
        "peak_gbps": usage.peak_bandwidth / 1e9,
        "peak_process_memory": usage.peak_memory,
        "peak_device_memory": usage.peak_device_memory,
    }
