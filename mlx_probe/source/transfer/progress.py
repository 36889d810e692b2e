"""How downloads go, on standard error: bars on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

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

from mlx_probe.core.units import format_size
from mlx_probe.source.transfer.batch import FileRequest
from mlx_probe.source.transfer.destination import Destination
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.resumable import Traffic

__all__ = ["DownloadProgress", "watching"]

# Seconds between two lines where there is no terminal to draw bars on.
LINE_INTERVAL = 5.0


class DownloadProgress:
    """Knows how far a download is; draws nothing itself.

    Args:
        on_bytes: See below.

    Attributes:
        on_bytes: Called besides with the number of bytes that have just come, in the thread
            that they came in; may block or raise.
        received: Bytes that have come over the network.
        total: Bytes of all files together.
    """

    def __init__(self, on_bytes: Callable[[int], None] = lambda count: None) -> None:
        self.received = 0
        self.total = 0
        self.on_bytes = on_bytes
        self._positions: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def traffic(self) -> Traffic:
        """Where transfers tell what arrives."""
        return Traffic(self.count, self._move)

    @property
    def done(self) -> int:
        """Bytes that are here."""
        return sum(list(self._positions.values()))

    def begin(self, requests: Sequence[FileRequest], destination: Destination) -> None:
        """The files are about to be brought."""
        self.total = sum(request.file.size or 0 for request in requests)
        self._positions = {e.file.name: destination.partial_size(e.key) for e in requests}

    def check(self, count: int) -> None:
        """Bytes of what is there already have been hashed; in any thread, before `begin`."""

    def finish(self, file: PublishedFile) -> None:
        """A file is complete and verified."""

    def tell(self, text: str, is_warning: bool) -> None:
        """A rule of the monitor is broken or kept again; in its thread."""

    def close(self) -> None:
        """Whatever happened, it is over."""

    def count(self, received: int) -> None:
        """Bytes have come over the network; in any thread."""
        with self._lock:
            self.received += received
        self.on_bytes(received)

    def _move(self, name: str, position: int) -> None:
        self._positions[name] = position


class _Bars(DownloadProgress):
    """One bar for everything, and one for each file on its way."""

    def __init__(self, console: Console, on_bytes: Callable[[int], None]) -> None:
        super().__init__(on_bytes)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._checking: TaskID | None = None
        self._sizes: dict[str, int] = {}

    def check(self, count: int) -> None:
        with self._lock:
            if self._checking is None:
                self._checking = self._bars.add_task("checking what is there", total=None)
                self._bars.start()
        self._bars.advance(self._checking, count)

    def begin(self, requests: Sequence[FileRequest], destination: Destination) -> None:
        super().begin(requests, destination)
        if self._checking is not None:
            self._bars.remove_task(self._checking)
        self._sizes = {e.file.name: e.file.size or 0 for e in requests}
        self._all = self._bars.add_task("all files", total=self.total or None, completed=self.done)
        self._bars.start()

    def finish(self, file: PublishedFile) -> None:
        if file.name in self._tasks:
            self._bars.remove_task(self._tasks.pop(file.name))

    def tell(self, text: str, is_warning: bool) -> None:
        self._bars.console.print(escape(text), soft_wrap=True)

    def close(self) -> None:
        self._bars.stop()

    def _move(self, name: str, position: int) -> None:
        with self._lock:
            super()._move(name, position)
            task = self._tasks.get(name)
            if task is None:
                title = escape(name if len(name) <= 32 else f"...{name[-29:]}")
                # What an earlier call left must not pass for this one's speed.
                task = self._bars.add_task(title, total=self._sizes[name], completed=position)
                self._tasks[name] = task
        self._bars.update(task, completed=position)
        self._bars.update(self._all, completed=self.done)


class _Lines(DownloadProgress):
    """A line now and then, and one for each file that is complete."""

    def __init__(self, console: Console, on_bytes: Callable[[int], None]) -> None:
        super().__init__(on_bytes)
        self._console = console
        self._began = self._last = time.monotonic()
        self._checked = 0

    def check(self, count: int) -> None:
        with self._lock:
            self._checked += count
            if not self._is_time():
                return
        self._say(f"checking what is there: {format_size(self._checked)}")

    def begin(self, requests: Sequence[FileRequest], destination: Destination) -> None:
        super().begin(requests, destination)
        self._began = self._last = time.monotonic()
        there = f", {format_size(self.done)} there already" if self.done else ""
        self._say(f"{len(requests)} file(s), {format_size(self.total)}{there}")

    def finish(self, file: PublishedFile) -> None:
        self._say(f"{file.name}: {format_size(file.size or 0)}, verified")

    def tell(self, text: str, is_warning: bool) -> None:
        self._say(text)

    def count(self, received: int) -> None:
        super().count(received)
        with self._lock:
            if not self.total or not self._is_time():
                return
        rate = self.received / (self._last - self._began)
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "waiting"
        share = f"{self.done / self.total:4.0%}, " if self.total else ""
        self._say(f"{share}{format_size(self.done)}, {format_size(int(rate))}/s, {left}")

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._last < LINE_INTERVAL:
            return False
        self._last = now
        return True

    def _say(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True)


@contextmanager
def watching(
    quiet: bool, lines: bool = False, on_bytes: Callable[[int], None] = lambda count: None
) -> Iterator[DownloadProgress]:
    """The watcher that suits standard error.

    Args:
        quiet: Whether to draw nothing.
        lines: Whether to print lines where standard error is no terminal.
        on_bytes: See `DownloadProgress`.
    """
    console = Console(stderr=True, highlight=False)
    progress = DownloadProgress(on_bytes)
    if not quiet and console.is_terminal:
        progress = _Bars(console, on_bytes)
    elif not quiet and lines:
        progress = _Lines(console, on_bytes)
    try:
        yield progress
    finally:
        progress.close()
