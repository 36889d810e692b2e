"""How downloads go, on standard error: bars on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.wrapping import clipped
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["download_progress"]

# Seconds between two lines where there is no terminal to draw bars on.
LINE_INTERVAL = 5.0


def download_progress(quiet: bool, lines: bool = False) -> DownloadProgress:
    """The progress that suits standard error.

    Args:
        quiet: Whether to draw nothing.
        lines: Whether to print lines where standard error is no terminal.
    """
    console = Console(stderr=True, highlight=False)
    if not quiet and console.is_terminal:
        return _Bars(console)
    if not quiet and lines:
        return _Lines(console)
    return DownloadProgress()


class _Bars(DownloadProgress):
    """One bar for everything, and one for each file that is arriving."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.terminal = sys.stderr.fileno() if sys.stderr.isatty() else None
        self._console = console
        self._bars = _new_bars(console)
        self._tasks: dict[str, TaskID] = {}
        self._sizes: Mapping[str, int] = {}
        self._checking: TaskID | None = None
        self._all = TaskID(0)

    def check(self, count: int) -> None:
        with self._lock:
            if self._checking is None:
                self._checking = self._bars.add_task(tr("checking what is there"), total=None)
                self._bars.start()
        self._bars.advance(self._checking, count)

    def begin(self, sizes: Mapping[str, int], present: Mapping[str, int]) -> None:
        super().begin(sizes, present)
        if self._checking is not None:
            self._bars.remove_task(self._checking)
        self._sizes = sizes
        self._all = self._bars.add_task(
            tr("all files"), total=self.total or None, completed=self.done
        )
        self._bars.start()

    def finish(self, name: str, size: int) -> None:
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))

    def alert(self, text: str, is_warning: bool) -> None:
        self._console.print(escape(translated(text)), soft_wrap=True)

    def close(self) -> None:
        self._bars.stop()
        # A command of two models downloads one after the other.
        self._bars, self._tasks, self._checking = _new_bars(self._console), {}, None

    def move(self, name: str, position: int) -> None:
        with self._lock:
            super().move(name, position)
            task = self._tasks.get(name)
            if task is None:
                title = escape(clipped(name, 32))
                # Bytes of an earlier download must not count for the speed of this one.
                task = self._bars.add_task(title, total=self._sizes[name], completed=position)
                self._tasks[name] = task
        self._bars.update(task, completed=position)
        self._bars.update(self._all, completed=self.done)


def _new_bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    )


class _Lines(DownloadProgress):
    """A line every few seconds, and one for each file that is complete."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._began = self._last = time.monotonic()
        self._checked = 0

    def check(self, count: int) -> None:
        with self._lock:
            self._checked += count
            if not self._is_time():
                return
        self._say(tr("checking what is there: {size}", size=format_size(self._checked)))

    def begin(self, sizes: Mapping[str, int], present: Mapping[str, int]) -> None:
        super().begin(sizes, present)
        self._began = self._last = time.monotonic()
        there = tr(", {size} there already", size=format_size(self.done)) if self.done else ""
        self._say(tr("{count} file(s)", count=len(sizes)) + f", {format_size(self.total)}{there}")

    def finish(self, name: str, size: int) -> None:
        self._say(tr("{name}: {size}, verified", name=name, size=format_size(size)))

    def alert(self, text: str, is_warning: bool) -> None:
        self._say(translated(text))

    def count(self, received: int) -> None:
        super().count(received)
        with self._lock:
            if not self.total or not self._is_time():
                return
        rate = self.received / (self._last - self._began)
        left = tr("waiting")
        if rate:
            left = tr("{seconds} s left", seconds=f"{(self.total - self.done) / rate:.0f}")
        share, done = self.done / self.total, format_size(self.done)
        self._say(f"{share:4.0%}, {done}, {format_size(int(rate))}/s, {left}")

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._last < LINE_INTERVAL:
            return False
        self._last = now
        return True

    def _say(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True)
