"""A thread that calls a function at regular times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Sampler"]


class Sampler:
    """Calls a function once in every interval, between ``with`` and its end.

    Args:
        look: The function. The first call is one interval after the start.
        interval: Seconds between the beginnings of two calls. A call that takes longer delays
            the next one, and no call is made up for.
        at_end: Called when the thread ends, even if ``look`` raised.
    """

    def __init__(
        self, look: Callable[[], None], interval: float, at_end: Callable[[], None]
    ) -> None:
        self._look, self._interval, self._at_end = look, interval, at_end
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        #: Processor time of the thread, in seconds.
        self.cpu_seconds = 0.0

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic() + self._interval
        try:
            while not self._end.wait(max(due - time.monotonic(), 0.0)):
                self._look()
                self.cpu_seconds = time.thread_time()
                due = max(due, time.monotonic() - self._interval) + self._interval
        finally:
            self._at_end()
