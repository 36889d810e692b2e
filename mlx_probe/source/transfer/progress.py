"""How far a download is. Nothing here draws: what draws is passed in from above."""

from __future__ import annotations

import threading
from collections.abc import Mapping

__all__ = ["DownloadProgress"]


class DownloadProgress:
    """Counts the bytes of a download, and draws nothing; subclasses draw.

    A download calls `check` and `begin` first, then `count`, `move` and `finish` while files
    arrive, and `close` at the end. Every method but `begin` and `close` may be called from any
    thread, and may raise to end the download.

    Attributes:
        received: Bytes that have come over the network.
        total: Bytes of all files together.
        terminal: File descriptor of a terminal that helper programs, such as pip, may draw on;
            None if they must be silent.
    """

    terminal: int | None = None

    def __init__(self) -> None:
        self.received = 0
        self.total = 0
        self._positions: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def done(self) -> int:
        """Bytes that are on this disk."""
        return sum(list(self._positions.values()))

    def check(self, count: int) -> None:
        """Bytes that were on this disk before have been hashed."""

    def begin(self, sizes: Mapping[str, int], present: Mapping[str, int]) -> None:
        """The transfers begin.

        Args:
            sizes: Bytes of each file by name; 0 if unknown.
            present: Bytes of each file that an earlier download left.
        """
        self.total = sum(sizes.values())
        self._positions = dict(present)

    def count(self, received: int) -> None:
        """Bytes have come over the network."""
        with self._lock:
            self.received += received

    def move(self, name: str, position: int) -> None:
        """So many bytes of a file are on this disk by now."""
        self._positions[name] = position

    def finish(self, name: str, size: int) -> None:
        """A file is complete and verified."""

    def alert(self, text: str, is_warning: bool) -> None:
        """A rule of the monitor is broken, or kept again."""

    def close(self) -> None:
        """The download has ended, with or without an error."""
