"""Following a running job by its number or folder, or reading the samples of a finished one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.folder import is_time_name
from mlx_probe.runs.latest import LATEST, run_folder
from mlx_probe.runs.monitor.jobs import JobRecord, running_jobs
from mlx_probe.runs.monitor.sample import Sample
from mlx_probe.runs.monitor.samples import SampleTail, find_recording, read_recording

__all__ = ["JobFollower", "View", "attach"]

# Samples that a follower keeps: two hours at one a second.
_KEPT = 7200


@dataclass(frozen=True)
class View:
    """A job and its samples at one moment.

    Attributes:
        job: The job; None if the samples do not name one.
        samples: Its samples, in order; the latest ones of a long job.
        state: "running", "paused" or "stopping"; for a job that is over "finished", or "not
            finished" if it can be resumed.
        resumed_at: Bytes that were finished when its last process began.
        worked: Seconds in which that process was not paused.
        path: The file of samples; None if there is none.
    """

    job: JobRecord | None
    samples: tuple[Sample, ...]
    state: str
    resumed_at: int
    worked: float
    path: Path | None

    @property
    def is_over(self) -> bool:
        """Whether there will be no more samples."""
        return self.state in ("finished", "not finished")

    @property
    def seconds_left(self) -> float | None:
        """Seconds for the rest at the speed so far; None while the speed is not known."""
        if not self.samples or self.is_over:
            return None
        last = self.samples[-1]
        done = last.done - self.resumed_at
        if done <= 0 or self.worked <= 0 or not last.total:
            return None
        return max(last.total - last.done, 0) * self.worked / done


class JobFollower:
    """Follows a job.

    Args:
        job: A running job; None to read ``kept`` only.
        kept: The file of samples of a job that is over.
    """

    def __init__(self, job: JobRecord | None, kept: Path | None = None) -> None:
        self._job, self._path = job, kept
        self._samples: deque[Sample] = deque(maxlen=_KEPT)
        self._session, self._resumed_at, self._worked, self._before = -1, 0, 0.0, 0.0
        self._state = "" if job else "not finished"
        self._tail: SampleTail | None = None
        if job is not None and job.samples:
            self._path = Path(job.samples)
            self._tail = SampleTail(self._path)

    def news(self) -> list[Sample]:
        """The samples since the last call; `view` includes them.

        Raises:
            ResultError: The file of samples cannot be read.
        """
        if self._job is not None and not self._state:
            # Look it up first: the samples that it wrote before it ended are read after that.
            alive = self._job in running_jobs()
            new = [s for s in (self._tail.read() if self._tail else []) if isinstance(s, Sample)]
            if not alive:
                new += self._end(new[-1] if new else self._samples[-1] if self._samples else None)
        elif self._tail is None and self._path is not None and not self._samples:
            recording = read_recording(self._path)
            new = list(recording.samples)
            self._job = recording.jobs[-1] if recording.jobs else self._job
            self._state = "finished" if self._path.suffix == ".parquet" else "not finished"
        else:
            return []
        for sample in new:
            self._add(sample)
        return new

    def view(self) -> View:
        """The job and its samples now."""
        last = self._samples[-1].state if self._samples else "running"
        return View(
            job=self._job,
            samples=tuple(self._samples),
            state=self._state or last,
            resumed_at=self._resumed_at,
            worked=self._worked,
            path=self._path,
        )

    def _add(self, sample: Sample) -> None:
        if sample.session != self._session:
            self._session, self._worked = sample.session, 0.0
            self._resumed_at, self._before = sample.done, sample.seconds
        if sample.state == "running":
            self._worked += sample.seconds - self._before
        self._before = sample.seconds
        self._samples.append(sample)

    def _end(self, last: Sample | None) -> list[Sample]:
        """The job has ended: its state, and its samples after ``last``."""
        self._state = "not finished"
        lines, job = self._path, self._job
        if job is None or lines is None or lines.exists():
            return []
        kept = find_recording(Path(job.folder)) if job.folder else None
        self._path = kept
        if kept is None or kept.suffix != ".parquet":
            return []
        self._state = "finished"
        samples = read_recording(kept).samples
        return [s for s in samples if last is None or s.created_at > last.created_at]


def attach(target: str | None) -> JobFollower:
    """Find a job, running or over.

    Args:
        target: A process number, a run folder or one of its files, or a model's folder or
            ``latest``; None for the only running job.

    Raises:
        ResultError: There is no such job or run, or there are several.
    """
    jobs = running_jobs()
    if target is None:
        return JobFollower(_only(jobs))
    path = Path(target)
    if target.isdecimal() and not path.exists():
        return JobFollower(_only([job for job in jobs if str(job.pid) == target], target))
    path = run_folder(path) if path.name == LATEST else path
    folder = (path if path.is_dir() else path.parent).resolve()
    here = [job for job in jobs if job.folder and _is_in(Path(job.folder).resolve(), folder)]
    if here and path.exists():
        return JobFollower(here[-1])
    kept = find_recording(path) if path.exists() else None
    if kept is None:
        what = "has no samples" if path.exists() else "does not exist"
        raise ResultError(
            f"{target} {what}",
            "Name a run of a job (analyze, compare, train ...), or the process of a running one",
        )
    return JobFollower(None, kept)


def _is_in(run: Path, folder: Path) -> bool:
    """Whether a run's folder is the one named, or one of those of the model named."""
    return folder == run or (folder == run.parent and is_time_name(run.name))


def _only(jobs: list[JobRecord], pid: str | None = None) -> JobRecord:
    if len(jobs) == 1:
        return jobs[0]
    if not jobs:
        what = "no job is running" if pid is None else f"process {pid} is no running job"
        raise ResultError(what, "Start one, or name the folder of a run that is over")
    lines = [f"  {job.pid}  {job.kind}  {job.title!r}  in {job.folder!r}" for job in jobs]
    raise ResultError(
        "\n".join([f"{len(jobs)} jobs are running:", *lines]), "Name one by its number or folder"
    )
