"""Progress of a run on standard error: a bar on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column

from mlx_probe.analysis.plan import Plan
from mlx_probe.analysis.progress import Progress, Silent
from mlx_probe.checkpoint import Weight
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import printable
from mlx_probe.runs.monitor import Gate, Usage
from mlx_probe.runs.monitor.sample import JobState
from mlx_probe.runs.monitor.watch import JobMonitor, WatchConfig

__all__ = ["Hashing", "alert_line", "hashing", "watch"]

# Columns of a terminal in which the bar is drawn at length.
WIDE = 100

# Seconds between two lines where there is no terminal to draw a bar on.
LINE_INTERVAL = 5.0


def watch(quiet: bool) -> Progress:
    """The progress that suits standard error."""
    if quiet:
        return Silent()
    console = Console(stderr=True, highlight=False)
    return _Bar(console) if console.is_terminal else _Lines(console)


def alert_line(text: str, is_warning: bool) -> str:
    """A message about a rule, as markup."""
    style = "bold yellow" if is_warning else "green"
    return f"[{style}]{printable(text)}[/]"


def _took(usage: Usage) -> str:
    text = f"{usage.mean_bandwidth / 1e9:.2f} GB/s, process {format_size(usage.memory)}"
    return text + (f", device {format_size(usage.device_memory)}" if usage.device_memory else "")


class _Bar:
    def __init__(self, console: Console) -> None:
        self._progress = Bars(
            BarColumn(bar_width=24 if console.width >= WIDE else 8),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn("left  {task.fields[took]} ", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[weight]}", style="dim", table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
        )
        self._took = self._label = ""

    def begin(self, plan: Plan, finished: Sequence[int]) -> None:
        total = sum(weight.nbytes for weight in plan.weights)
        done = sum(plan.weights[i].nbytes for i in finished)
        self._progress.console.print(printable(plan.backend_reason))
        self._task = self._progress.add_task("", total=total, weight="", took="")
        # Set apart: work of an earlier run does not count for the speed of this one.
        self._progress.update(self._task, completed=done)
        self._progress.start()

    def start(self, weight: Weight) -> None:
        self._label = weight.label
        self._show(0)

    def finish(self, weight: Weight, usage: Usage) -> None:
        self._took = _took(usage)
        self._show(weight.nbytes)

    def _show(self, advance: int) -> None:
        # The end of a name says most: its beginning is the same for all.
        width = self._progress.console.width
        used, name = len(self._took) + (46 if width >= WIDE else 30), self._label
        room = max(8, width - used)
        shown = name if len(name) <= room else "..." + name[3 - room :]
        self._progress.update(self._task, advance=advance, took=self._took, weight=printable(shown))

    def alert(self, text: str, is_warning: bool) -> None:
        # Printed above the bar.
        self._progress.console.print(alert_line(text, is_warning), soft_wrap=True)

    def end(self) -> None:
        self._progress.stop()


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, plan: Plan, finished: Sequence[int]) -> None:
        self._total = sum(weight.nbytes for weight in plan.weights)
        self._done = sum(plan.weights[i].nbytes for i in finished)
        self._resumed = self._done
        self._began = self._last = time.monotonic()
        again = f", {len(finished)} rows are there already" if finished else ""
        self._say(f"{printable(plan.backend_reason)}; {len(plan.weights)} weights{again}")

    def start(self, weight: Weight) -> None:
        """Nothing: a line for every weight would be too much."""

    def finish(self, weight: Weight, usage: Usage) -> None:
        self._done += weight.nbytes
        now = time.monotonic()
        if now - self._last < LINE_INTERVAL:
            return
        self._last = now
        rate = (self._done - self._resumed) / (now - self._began)
        left = (self._total - self._done) / rate if rate else 0.0
        share = self._done / self._total if self._total else 1.0
        self._say(f"{share:4.0%}, {_took(usage)}, {left:.0f} s left, {printable(weight.label)}")

    def alert(self, text: str, is_warning: bool) -> None:
        self._say(alert_line(text, is_warning))

    def end(self) -> None:
        """Nothing: the summary follows."""

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


class Hashing:
    """A bar for bytes that are hashed; any thread may call any method."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self.bar = Bars(
            TextColumn("hashing"),
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
