"""Samples of a process and its machine, from the operating system.

Each reading is one system call or one file of /proc: a sample takes about a millisecond.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from mlx_probe.core.machine import usable_cores
from mlx_probe.runs.monitor.accelerator import Accelerator
from mlx_probe.runs.monitor.sample import JobState, Sample

__all__ = ["SPEED_WINDOW", "Readings", "free_space"]

# Seconds over which the speed of reading is averaged: one second may fall between two slabs.
SPEED_WINDOW = 10.0


class Readings:
    """Makes samples; a rate is the average since the last sample.

    Args:
        state: How far the job is.
        device_memory: Bytes of device memory in use and at the peak; None without a device.
        folder: Folder of the results; it need not exist yet.
        session: Number of the process that works on the run.
        accelerator: Readings of the GPU; None for none.
    """

    def __init__(
        self,
        state: Callable[[], JobState],
        device_memory: Callable[[], tuple[int, int]] | None = None,
        folder: Path | None = None,
        session: int = 0,
        accelerator: Accelerator | None = None,
    ) -> None:
        self._state, self._device_memory = state, device_memory
        self._folder, self._session, self._accelerator = folder, session, accelerator
        self._process, self._cores = psutil.Process(), usable_cores()
        self._all_cores = os.cpu_count() or 1
        self._began = time.monotonic()
        self._before: dict[str, tuple[float, float]] = {}
        self._read: deque[tuple[float, int, float]] = deque()
        # Readings that this system does not have.
        self._absent: set[str] = set()

    def look(self, state: str) -> Sample:
        """Take a sample; a value that the system does not give is None."""
        now = time.monotonic()
        job = self._state()
        values: dict[str, Any] = {}
        for name, reading in _READINGS.items():
            if name in self._absent:
                continue
            try:
                values |= reading(self, now)
            except (AttributeError, NotImplementedError):
                self._absent.add(name)
            except (OSError, RuntimeError, psutil.Error):
                continue
        return Sample(
            created_at=datetime.now(timezone.utc),
            session=self._session,
            seconds=now - self._began,
            state=state,
            done=job.done,
            total=job.total,
            # Text that is not Unicode could not be read back.
            what=job.what[:200].encode("utf-8", "replace").decode("utf-8"),
            read_rate=self._rate("read", now, job.nbytes),
            read_speed=self._speed(now, job),
            **values,
        )

    def _cpu(self, now: float) -> dict[str, Any]:
        times = self._process.cpu_times()
        machine = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        process = self._rate("process cpu", now, times.user + times.system)
        # Clock ticks are coarse: the idle time of a second may exceed a second.
        idle_rate = self._rate("idle", now, idle)
        if process is None or idle_rate is None:
            return {}
        busy = min(max(1.0 - idle_rate / self._all_cores, 0.0), 1.0)
        return {
            "process_cpu": 100.0 * process,
            "machine_cpu": 100.0 * busy,
            "other_cpu": 100.0 * max(busy - process / self._all_cores, 0.0),
        }

    def _memory(self, now: float) -> dict[str, Any]:
        memory = psutil.virtual_memory()
        return {
            "process_memory": int(self._process.memory_info().rss),
            "memory_used": memory.total - memory.available,
            "memory_available": memory.available,
            "memory_percent": 100.0 * (memory.total - memory.available) / memory.total,
        }

    def _swap(self, now: float) -> dict[str, Any]:
        swap = psutil.swap_memory()
        return {
            "swap_used": swap.used,
            "swap_in_rate": self._rate("swap in", now, swap.sin),
            "swap_out_rate": self._rate("swap out", now, swap.sout),
        }

    def _disk(self, now: float) -> dict[str, Any]:
        return {} if self._folder is None else {"disk_free": free_space(self._folder)[0]}

    def _traffic(self, now: float) -> dict[str, Any]:
        # macOS counts the machine's only.
        counters = getattr(self._process, "io_counters", psutil.disk_io_counters)()
        if counters is None:
            # No counters here: do not ask again.
            raise NotImplementedError
        return {
            "disk_read_rate": self._rate("disk read", now, counters.read_bytes),
            "disk_write_rate": self._rate("disk write", now, counters.write_bytes),
            "disk_scope": "process" if hasattr(self._process, "io_counters") else "machine",
        }

    def _device(self, now: float) -> dict[str, Any]:
        if self._device_memory is None:
            return {}
        active, peak = self._device_memory()
        # A backend without a device says 0.
        return {"device_memory": active, "device_memory_peak": peak} if peak else {}

    def _gpu(self, now: float) -> dict[str, Any]:
        return {} if self._accelerator is None else self._accelerator.latest()

    def _rate(self, name: str, now: float, count: float) -> float | None:
        """Growth of a counter per second; None for the first sample."""
        before = self._before.get(name)
        self._before[name] = (now, count)
        if before is None or now <= before[0]:
            return None
        return max((count - before[1]) / (now - before[0]), 0.0)

    def _speed(self, now: float, job: JobState) -> float | None:
        took = now if job.read_seconds is None else job.read_seconds
        self._read.append((now, job.nbytes, took))
        while len(self._read) > 1 and self._read[1][0] <= now - SPEED_WINDOW:
            self._read.popleft()
        then, nbytes, seconds = self._read[0]
        # A window that is not full may mislead.
        if now - then < SPEED_WINDOW or job.nbytes == nbytes or took <= seconds:
            return None
        return (job.nbytes - nbytes) / (took - seconds)


_READINGS: dict[str, Callable[[Readings, float], dict[str, Any]]] = {
    "cpu": Readings._cpu,
    "memory": Readings._memory,
    "swap": Readings._swap,
    "disk": Readings._disk,
    "traffic": Readings._traffic,
    "device": Readings._device,
    "gpu": Readings._gpu,
}


def free_space(folder: Path) -> tuple[int, int]:
    """Free bytes and all bytes on the disk of a folder, or of its nearest parent that exists.

    Raises:
        OSError: None can be read.
    """
    for path in (folder, *folder.absolute().parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            usage = psutil.disk_usage(str(path))
            return usage.free, usage.total
    raise FileNotFoundError(str(folder))
