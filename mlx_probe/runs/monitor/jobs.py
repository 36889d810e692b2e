"""The running jobs of this user on this machine, for those who want to follow one.

A job keeps a small file in the cache folder while it runs. A job that was killed leaves its file
behind: a file whose process is gone, or is another one by now, is removed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from mlx_probe.core.files import atomic_replace
from mlx_probe.core.paths import cache_dir

__all__ = ["JobRecord", "jobs_folder", "register", "running_jobs", "scratch_lines", "started_at"]

_numbers = itertools.count()

# Seconds. The system derives it from the time of booting, which moves when the clock is set.
_TOLERANCE = 2.0


@dataclass(frozen=True)
class JobRecord:
    """A running job, without its samples.

    Attributes:
        pid: Its process.
        process_started: When that began, in seconds since 1970.
        kind: "analyze", "compare", "download" ...
        title: Name of its inputs.
        folder: Folder of its results.
        samples: Its file of samples; "" for none.
        created_at: When it began, ISO 8601.
        session: Number of the process that works on the run.
        interval: Seconds between two samples.
        cores: Cores of the machine.
        memory: Bytes of the machine's memory.
        copy_bandwidth: Bytes in a second that one core copies; None if not calibrated.
        rules: Texts of its rules.
    """

    pid: int
    process_started: float
    kind: str
    title: str
    folder: str
    samples: str
    created_at: str
    session: int
    interval: float
    cores: int
    memory: int
    copy_bandwidth: float | None
    rules: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Any) -> JobRecord:
        """The job that `describe` described.

        Raises:
            KeyError, TypeError, ValueError: That does not describe a job.
        """
        if not isinstance(entry, Mapping):
            raise TypeError("no object")
        copy = entry["copy_bandwidth"]
        return cls(
            pid=int(entry["pid"]),
            process_started=float(entry["process_started"]),
            kind=str(entry["kind"]),
            title=str(entry["title"]),
            folder=str(entry["folder"]),
            samples=str(entry["samples"]),
            created_at=str(entry["created_at"]),
            session=int(entry["session"]),
            interval=float(entry["interval"]),
            cores=int(entry["cores"]),
            memory=int(entry["memory"]),
            copy_bandwidth=None if copy is None else float(copy),
            rules=tuple(str(rule) for rule in entry["rules"]),
        )

    @property
    def is_alive(self) -> bool:
        """Whether its process still runs, and its number is no other process's by now."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.process_started) < _TOLERANCE
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, ValueError, OverflowError):
            return False


def jobs_folder() -> Path:
    """Folder with one file for each running job."""
    return cache_dir() / "jobs"


def started_at() -> float:
    """When this process began, in seconds since 1970."""
    return psutil.Process().create_time()


def register(job: JobRecord) -> Path | None:
    """Write the file of a running job.

    Returns:
        The file, which the job removes at its end; None if the cache cannot be written: then
        the job cannot be followed by its number.
    """
    folder = jobs_folder()
    path = folder / f"{job.pid}.{next(_numbers)}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_replace(path, flush=False) as temporary:
            temporary.write_text(json.dumps(job.describe()), "utf-8")
    except OSError:
        return None
    return path


def scratch_lines() -> Path:
    """A file for the samples of a job that does not keep them; makes its folder if possible."""
    folder = jobs_folder()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{os.getpid()}.{next(_numbers)}.samples.jsonl"


def running_jobs() -> list[JobRecord]:
    """The jobs that run now, the oldest first; files of dead processes are removed."""
    jobs = []
    try:
        files = sorted(jobs_folder().iterdir())
    except OSError:
        return []
    for file in files:
        name = re.fullmatch(r"\.?(\d{1,10})\.\d+\.(json|json\.tmp|samples\.jsonl)", file.name)
        # Files of others stay.
        if name is None:
            continue
        job = _read(file) if name[2] == "json" else None
        if job is not None and job.pid == int(name[1]) and job.is_alive:
            jobs.append(job)
        elif job is not None or not psutil.pid_exists(int(name[1])):
            with suppress(OSError):
                file.unlink()
    return sorted(jobs, key=lambda job: (job.created_at, job.pid))


def _read(file: Path) -> JobRecord | None:
    try:
        return JobRecord.from_json(json.loads(file.read_text("utf-8")))
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None
