"""What a run takes from the machine: peak memory, bandwidth, and the time of each stage."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import psutil

from mlx_probe.runs.monitor.gate import Gate

__all__ = ["STAGES", "Usage", "UsageMeter", "Work", "process_memory"]

INTERVAL = 0.05

# What measuring a weight consists of, in the order in which it happens.
STAGES = {
    "read": "bring the bytes in and unpack them",
    "moments": "moments and other sums over the elements",
    "gram": "Gram matrices",
    "solve": "eigenvalues of Gram matrices, and counts of them",
    "direct": "singular values by QR and SVD",
    "sketch": "leading values by block Lanczos",
    "metrics": "columns that follow from moments and spectra, resampling",
    "sides": "heads and experts, after the weights",
}


# Looking a process up takes several times as long as asking it.
_process = lru_cache(maxsize=1)(psutil.Process)


def process_memory() -> int:
    """Resident bytes of this process now."""
    return int(_process(os.getpid()).memory_info().rss)


@dataclass(frozen=True)
class Work:
    """What one stage has taken.

    Attributes:
        seconds: In all workers together.
        bytes: That went through it.
        flops: Floating-point operations of the algorithm, not of what a device makes of it.
    """

    seconds: float = 0.0
    bytes: int = 0
    flops: float = 0.0


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
        stages: What each of `STAGES` has taken, in their order; those that occurred.
    """

    seconds: float
    bytes_read: int
    memory: int
    peak_memory: int
    device_memory: int
    peak_device_memory: int
    peak_bandwidth: float
    stages: Mapping[str, Work]

    @property
    def mean_bandwidth(self) -> float:
        """Bytes read per second of wall time."""
        return self.bytes_read / self.seconds if self.seconds > 0 else 0.0


class UsageMeter:
    """Samples memory and bandwidth in a thread, between ``with`` and its end.

    Args:
        device_memory: Bytes of device memory in use and at the peak.

    Attributes:
        gate: What workers pass before they take more; whoever watches the machine closes it.
    """

    def __init__(self, device_memory: Callable[[], tuple[int, int]]) -> None:
        self.gate = Gate()
        self._device_memory = device_memory
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="monitor", daemon=True)
        self._began = time.monotonic()
        self._window: list[tuple[float, int]] = [(self._began, 0)]
        self._stages = dict.fromkeys(STAGES, Work())
        self._peak_memory = 0
        self._peak_bandwidth = 0.0

    def __enter__(self) -> UsageMeter:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def add(self, stage: str, seconds: float, nbytes: int = 0, flops: float = 0.0) -> None:
        """Count what a worker has just done; any thread may call it.

        Args:
            stage: Key of `STAGES`; the bytes of "read" are those of the bandwidth.
            seconds: Time that it took.
            nbytes: Bytes that went through.
            flops: Floating-point operations.
        """
        with self._lock:
            work = self._stages[stage]
            self._stages[stage] = Work(
                work.seconds + seconds, work.bytes + nbytes, work.flops + flops
            )

    def work(self, stage: str) -> Work:
        """What one of `STAGES` has taken so far."""
        with self._lock:
            return self._stages[stage]

    def usage(self) -> Usage:
        """What has been taken so far."""
        memory = self._look()
        now, peak_device = self._device_memory()
        with self._lock:
            seconds = time.monotonic() - self._began
            read = self._stages["read"].bytes
            # A run shorter than a window has only its mean.
            return Usage(
                seconds=seconds,
                bytes_read=read,
                memory=memory,
                peak_memory=self._peak_memory,
                device_memory=now,
                peak_device_memory=peak_device,
                peak_bandwidth=max(self._peak_bandwidth, read / seconds if seconds > 0 else 0.0),
                stages={name: work for name, work in self._stages.items() if work != Work()},
            )

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._look()

    def _look(self) -> int:
        memory, now = process_memory(), time.monotonic()
        with self._lock:
            self._peak_memory = max(self._peak_memory, memory)
            read = self._stages["read"].bytes
            self._window.append((now, read))
            while len(self._window) > 1 and self._window[1][0] <= now - 1.0:
                self._window.pop(0)
            then, before = self._window[0]
            if now - then >= 1.0:
                self._peak_bandwidth = max(self._peak_bandwidth, (read - before) / (now - then))
        return memory
