"""Progress of a job that hashes files: a bar on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from mlx_probe.core.language import tr
from mlx_probe.runs.monitor import Gate
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig

from .console import alert_line

__all__ = ["Hashing", "hashing"]


class Hashing:
    """A bar for bytes that are hashed; any thread may call any method."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self.bar = Progress(
            TextColumn(tr("hashing")),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self.bar.add_task("hashing", total=None)
        self.gate = Gate()

    def begin(self, total: int) -> None:
        """Set the number of bytes to hash."""
        self.bar.update(self._task, total=total)

    def add(self, more: int) -> None:
        """Count hashed bytes; wait while a rule pauses the job."""
        self.bar.advance(self._task, more)
        self.gate.wait()

    def update(self, total: int, more: int) -> None:
        """Call `begin` and `add`."""
        self.begin(total)
        self.add(more)

    def state(self) -> JobState:
        """How far the hashing is."""
        task = self.bar.tasks[0]
        done = int(task.completed)
        return JobState(done, int(task.total or 0), "hashing", done)

    def alert(self, text: str, is_warning: bool) -> None:
        """Print a message about a rule."""
        if not self._quiet:
            self.bar.console.print(alert_line(text, is_warning), soft_wrap=True)


@contextmanager
def hashing(
    kind: str, title: str, quiet: bool, config: WatchConfig | None = None
) -> Iterator[Hashing]:
    """Show and monitor a job that hashes files.

    Args:
        kind: The command.
        title: Name of its inputs.
        quiet: Whether to draw nothing.
        config: Rules, and who may follow the job; None for the default ones.
    """
    job = Hashing(quiet)
    with (
        JobMonitor(kind, title, job.state, config=config, gate=job.gate, on_alert=job.alert),
        job.bar,
    ):
        yield job
