"""Work on several files at a time; all end at once if one fails or the user stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["POLL_SECONDS", "Stop", "StoppedError", "in_threads"]

T = TypeVar("T")
R = TypeVar("R")

# Seconds between two checks whether the user wants to stop.
POLL_SECONDS = 0.2
# Seconds to wait for threads that must stop: they check with their next bytes. A thread that
# waits for a silent server is left behind.
_GRACE = 2.0


class StoppedError(Exception):
    """Another thread failed, or the user stopped."""


class Stop:
    """A signal to the threads of one task to end."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """From now on `check` raises."""
        self._event.set()

    def checked(self, on_bytes: Callable[[int], None]) -> Callable[[int], None]:
        """The same callback, which also calls `check`."""

        def call(count: int) -> None:
            on_bytes(count)
            self.check()

        return call

    def check(self) -> None:
        """Called by the threads, often.

        Raises:
            StoppedError: The task has ended. Do not catch it.
        """
        if self._event.is_set():
            raise StoppedError


def in_threads(
    work: Callable[[T], R],
    items: Iterable[T],
    workers: int,
    stop: Stop,
    on_done: Callable[[R], None] = lambda result: None,
) -> list[R]:
    """Call a function for each item, in several threads.

    Args:
        work: The function; has to call ``stop.check`` often.
        items: Its arguments.
        workers: Calls at a time.
        stop: Set when this returns or raises, so that no thread goes on.
        on_done: Called in this thread with each result when it is there.

    Returns:
        The results in the order of ``items``.

    Raises:
        BaseException: The first that ``work`` or ``on_done`` raised, or KeyboardInterrupt.
    """
    pool = ThreadPoolExecutor(max(1, workers), "mlx-probe")
    waiting: set[Future[R]] = set()
    try:
        futures = [pool.submit(work, item) for item in items]
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, POLL_SECONDS, FIRST_EXCEPTION)
            for future in done:
                on_done(future.result())
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in waiting if not future.cancelled()], _GRACE)
