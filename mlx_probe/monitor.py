"""What a run takes from the machine: process memory, device memory, bandwidth."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

__all__ = ["Monitor", "Usage", "process_memory"]

INTERVAL = 0.05


def process_memory() -> int:
    """Resident bytes of this process now."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class Usage:
    """What a run has taken so far.

    Attributes:
        seconds: Since the monitor started.
        bytes_read: Bytes of weights read.
        memory: Resident bytes of the process now.
        peak_memory: Most resident bytes seen.
        device_memory: Bytes of device memory now.
        peak_device_memory: Most bytes of device memory, as the backend counts them.
        peak_bandwidth: Most bytes read in one second's window, per second.
    """

    seconds: float
    bytes_read: int
    memory: int
    peak_memory: int
    device_memory: int
    peak_device_memory: int
    peak_bandwidth: float

    @property
    def mean_bandwidth(self) -> float:
        """Bytes read per second of wall time."""
        return self.bytes_read / self.seconds if self.seconds > 0 else 0.0


class Monitor:
    """Samples memory and bandwidth in a thread, between ``with`` and its end.

    Args:
        device_memory: Bytes of device memory in use and at the peak.
    """

    def __init__(self, device_memory: Callable[[], tuple[int, int]]) -> None:
        self._device_memory = device_memory
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="monitor", daemon=True)
        self._began = time.monotonic()
        self._window: list[tuple[float, int]] = [(self._began, 0)]
        self._read = 0
        self._peak_memory = 0
        self._peak_bandwidth = 0.0

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def add_read(self, nbytes: int) -> None:
        """Count bytes of weights as read; any thread may call it."""
        with self._lock:
            self._read += nbytes

    def usage(self) -> Usage:
        """What has been taken so far."""
        memory = self._look()
        now, peak_device = self._device_memory()
        with self._lock:
            seconds = time.monotonic() - self._began
            # A run shorter than a window has only its mean.
            peak = max(self._peak_bandwidth, self._read / seconds if seconds > 0 else 0.0)
            return Usage(seconds, self._read, memory, self._peak_memory, now, peak_device, peak)

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._look()

    def _look(self) -> int:
        memory, now = process_memory(), time.monotonic()
        with self._lock:
            self._peak_memory = max(self._peak_memory, memory)
            self._window.append((now, self._read))
            while len(self._window) > 1 and self._window[1][0] <= now - 1.0:
                self._window.pop(0)
            then, before = self._window[0]
            if now - then >= 1.0:
                self._peak_bandwidth = max(
                    self._peak_bandwidth, (self._read - before) / (now - then)
                )
        return memory
