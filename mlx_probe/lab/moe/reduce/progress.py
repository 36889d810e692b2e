"""Counts bytes that are written."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Written"]


class Written:
    """Tells how much of a model is written.

    Args:
        on_progress: Called with bytes that are written, and all of them.
    """

    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self._on_progress = on_progress
        self._done = self._total = 0

    def begin(self, total: int) -> None:
        """So many bytes in all."""
        self._total = total

    def add(self, count: int) -> None:
        """So many bytes more."""
        self._done += count
        self._on_progress(self._done, self._total)
