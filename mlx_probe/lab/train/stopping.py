"""Ctrl-C and SIGTERM while a model is trained: the step is finished, and then everything saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mlx_probe.core.errors import Interrupted

__all__ = ["StopRequest", "stop_requests"]


class StopRequest:
    """Whether the user wants the run to stop.

    Attributes:
        signal: Number of the signal; None while nobody wants it.
    """

    signal: int | None = None

    def error(self, fact: str) -> Interrupted:
        """The error of the stop, with the signal's exit code."""
        number = self.signal or signal.SIGINT
        name = f"{signal.Signals(number).name}: " if number != signal.SIGINT else ""
        error = Interrupted(f"{name}{fact}", "Run the same command again to go on from there")
        error.exit_code = 128 + number
        return error


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note signals instead of raising, within ``with``; a second one ends the process at once.

    Only in the main thread: no other gets signals.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
        signal.signal(number, before[signal.Signals(number)])

    try:
        for number in before:
            signal.signal(number, note)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
