"""The gate at which the threads of a job wait while a rule pauses it, or stop."""

from __future__ import annotations

import threading
import time

from mlx_probe.core.errors import Stopped

__all__ = ["Gate"]


class Gate:
    """Open, closed for a while, or closed for good. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Set unless the gate is closed for a while: a thread that has to stop does not wait.
        self._open = threading.Event()
        self._open.set()
        self._over: tuple[str, str] | None = None
        self._closed_since: float | None = None
        self._paused_seconds = 0.0
        self._held = threading.local()

    @property
    def state(self) -> str:
        """One of "running", "paused" and "stopping"."""
        if self._over is not None:
            return "stopping"
        return "running" if self._open.is_set() else "paused"

    @property
    def paused_seconds(self) -> float:
        """Seconds for which the gate was closed, until now."""
        with self._lock:
            since = self._closed_since
            return self._paused_seconds + (0.0 if since is None else time.perf_counter() - since)

    def wait(self) -> None:
        """Return when the gate is open, which it usually is.

        Raises:
            Stopped: The gate is closed for good.
        """
        if not self._open.is_set():
            began = time.perf_counter()
            try:
                self._open.wait()
            finally:
                self._held.seconds = self._waited() + time.perf_counter() - began
        if self._over is not None:
            raise Stopped(*self._over)

    def clock(self) -> float:
        """A clock in seconds, without the time in which this thread waits at the gate."""
        return time.perf_counter() - self._waited()

    def pause(self) -> None:
        """Close the gate until `resume`."""
        with self._lock:
            if self._over is None and self._closed_since is None:
                self._closed_since = time.perf_counter()
                self._open.clear()

    def resume(self) -> None:
        """Open the gate."""
        with self._lock:
            self._end_pause()

    def stop(self, fact: str, remedy: str) -> None:
        """Close the gate for good: `wait` raises `Stopped` with this fact and remedy.

        Later calls change nothing.
        """
        with self._lock:
            self._over = self._over or (fact, remedy)
            self._end_pause()

    def _end_pause(self) -> None:
        if self._closed_since is not None:
            self._paused_seconds += time.perf_counter() - self._closed_since
            self._closed_since = None
        self._open.set()

    def _waited(self) -> float:
        waited: float = getattr(self._held, "seconds", 0.0)
        return waited
