"""What makes preparing data a job: a log, samples of its use, and rules that pause or stop it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlx_probe.lab.data.progress import OnProgress, Progress
from mlx_probe.runs.log import log_file
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig

__all__ = ["LOG", "SAMPLES", "SAMPLES_SO_FAR", "monitored"]

LOG, SAMPLES, SAMPLES_SO_FAR = "tokenize.log", "monitor.parquet", "monitor.jsonl"

_log = logging.getLogger(__name__)


@contextmanager
def monitored(
    out: Path,
    title: str,
    watch: WatchConfig | None,
    on_progress: OnProgress | None,
    on_alert: Callable[[str, bool], None] | None = None,
    job: str = "tokenize",
    log: str = LOG,
) -> Iterator[OnProgress]:
    """Log and monitor the job within ``with``.

    Args:
        out: Its folder.
        title: Name of its text.
        watch: Rules, and who may follow it; None for neither log nor monitor, where another job
            has them.
        on_progress: Told how far it is.
        on_alert: Told what the rules say, and whether it is a warning.
        job: Name of the kind of job, by which followers know it.
        log: Name of the log file.

    Yields:
        What the job tells how far it is; waits while a rule pauses the job.

    Raises:
        Stopped: A rule ended the job; what is finished stays.
        ResultError: The disk refused the log.
    """
    state = JobState()

    def report(progress: Progress) -> None:
        nonlocal state
        if progress.stage != state.what:
            _log.info("%s: %d of %d bytes", progress.stage, progress.done, progress.total)
        new = progress.done - state.done if progress.stage == state.what else 0
        state = JobState(progress.done, progress.total, progress.stage, state.nbytes + new)
        if on_progress is not None:
            on_progress(progress)
        if monitor is not None:
            monitor.gate.wait()

    monitor: JobMonitor | None = None
    with ExitStack() as stack:
        if watch is not None:
            stack.enter_context(log_file(out / log))
            lines = out / SAMPLES_SO_FAR
            monitor = stack.enter_context(
                JobMonitor(
                    job,
                    title,
                    lambda: state,
                    config=watch,
                    folder=out,
                    lines=lines,
                    on_alert=on_alert,
                )
            )
        yield report
        if monitor is not None:
            monitor.keep(out / SAMPLES)
