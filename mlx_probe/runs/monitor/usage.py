"""What a job takes from the machine: peak memory, bandwidth, and the time of each stage."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import psutil

from mlx_probe.runs.monitor.gate import Gate

__all__ = ["READ", "Stage", "Timing", "Usage", "UsageMeter", "Work", "process_memory"]

INTERVAL = 0.05

# The stage whose bytes are the bandwidth.
READ = "read"


@dataclass(frozen=True)
class Stage:
    """Something that a job spends time on: one line of the job's table of stages.

    Attributes:
        description: For the documentation.
        limit: What would have to be faster for the stage to take less time.
        in_lane: Whether the stage takes one of the device's lanes; otherwise it takes a worker.
    """

    description: str
    limit: str
    in_lane: bool = False


# Making a Process takes several times as long as reading its memory.
_process = lru_cache(maxsize=1)(psutil.Process)


def process_memory() -> int:
    """Resident bytes of this process now."""
    return int(_process(os.getpid()).memory_info().rss)


@dataclass(frozen=True)
class Work:
    """Cost of one stage.

    Attributes:
        seconds: Of all workers together.
        bytes: Bytes that it worked through.
        flops: Floating-point operations of the algorithm; a device may do more.
    """

    seconds: float = 0.0
    bytes: int = 0
    flops: float = 0.0


@dataclass(frozen=True)
class Usage:
    """What a job has taken from the machine so far.

    Attributes:
        seconds: Since the meter started.
        bytes_read: Bytes of the stage `READ`.
        memory: Resident bytes of the process, at most `INTERVAL` seconds ago.
        peak_memory: Most resident bytes seen.
        device_memory: Bytes of device memory now.
        peak_device_memory: Most bytes of device memory, as the backend counts them.
        peak_bandwidth: Most bytes read in one second's window, per second.
        stages: Cost of each stage that occurred, in the order of the table.
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


class Timing:
    """One timed block: between ``with`` and its end, in one thread.

    Time at the closed gate does not count. In nested blocks each second counts once, for the
    innermost block. All attributes but ``seconds`` may be set inside the block.

    Attributes:
        stage: Key of the table of stages; "" for a block that is no stage.
        nbytes: Bytes that it works through.
        flops: Floating-point operations.
        cores: Cores that it keeps busy.
        seconds: Set at the end: the block's time without nested blocks, times ``cores``. For a
            block that is no stage its time with nested blocks.
    """

    def __init__(self, meter: UsageMeter, stage: str, nbytes: int = 0, flops: float = 0.0) -> None:
        self.stage, self.nbytes, self.flops, self.cores = stage, nbytes, flops, 1
        self.seconds = 0.0
        self._meter, self._nested = meter, 0.0

    def __enter__(self) -> Timing:
        self._meter.open_blocks.append(self)
        self._began = self._meter.gate.clock()
        return self

    def __exit__(self, error: type[BaseException] | None, *exception: object) -> None:
        elapsed = self._meter.gate.clock() - self._began
        around = self._meter.open_blocks
        around.pop()
        if around:
            around[-1]._nested += elapsed
        self.seconds = self.cores * (elapsed - self._nested) if self.stage else elapsed
        # A block that failed has not done its bytes and operations.
        if self.stage and error is None:
            self._meter.add(self.stage, self.seconds, self.nbytes, self.flops)


class UsageMeter:
    """Counts stages, and samples memory and bandwidth in a thread between ``with`` and its end.

    Args:
        stages: The job's table of stages.
        device_memory: Bytes of device memory in use and at the peak; None without a device.

    Attributes:
        gate: Workers pass it before they take more; rules of the monitor close it.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        device_memory: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self.gate = Gate()
        self._device_memory = device_memory or (lambda: (0, 0))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="monitor", daemon=True)
        self._began = time.monotonic()
        self._window: list[tuple[float, int]] = [(self._began, 0)]
        self._stages = dict.fromkeys(stages, Work())
        self._blocks = threading.local()
        self._looked = -math.inf
        self._memory = self._peak_memory = 0
        self._peak_bandwidth = 0.0

    def __enter__(self) -> UsageMeter:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def stage(self, name: str, nbytes: int = 0, flops: float = 0.0) -> Timing:
        """Time a block as one of the stages; any thread may call it.

        Args:
            name: Key of the table of stages.
            nbytes: Bytes that it works through; those of `READ` are the bandwidth.
            flops: Floating-point operations.
        """
        return Timing(self, name, nbytes, flops)

    def timed(self) -> Timing:
        """Time a block that is no stage; a stage around it does not count it."""
        return Timing(self, "")

    def add(self, stage: str, seconds: float, nbytes: int = 0, flops: float = 0.0) -> None:
        """Count time that was measured elsewhere; any thread may call it.

        Args:
            stage: Key of the table of stages.
            seconds: The time.
            nbytes: Bytes that it worked through.
            flops: Floating-point operations.
        """
        with self._lock:
            work = self._stages[stage]
            self._stages[stage] = Work(
                work.seconds + seconds, work.bytes + nbytes, work.flops + flops
            )

    def work(self, stage: str) -> Work:
        """Cost of a stage so far; nothing if the job has no such stage."""
        with self._lock:
            return self._stages.get(stage, Work())

    @property
    def open_blocks(self) -> list[Timing]:
        """The blocks that this thread is in, the innermost last."""
        blocks: list[Timing] | None = getattr(self._blocks, "open", None)
        if blocks is None:
            blocks = self._blocks.open = []
        return blocks

    def usage(self) -> Usage:
        """What the job has taken so far."""
        # Not more often than the sampler: asking the system takes longer than a small tensor.
        if time.monotonic() - self._looked >= INTERVAL:
            self._look()
        now, peak_device = self._device_memory()
        with self._lock:
            seconds = time.monotonic() - self._began
            read = self._read().bytes
            # A job shorter than a window has only its mean.
            return Usage(
                seconds=seconds,
                bytes_read=read,
                memory=self._memory,
                peak_memory=self._peak_memory,
                device_memory=now,
                peak_device_memory=peak_device,
                peak_bandwidth=max(self._peak_bandwidth, read / seconds if seconds > 0 else 0.0),
                stages={name: work for name, work in self._stages.items() if work != Work()},
            )

    def _read(self) -> Work:
        return self._stages.get(READ, Work())

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        memory, now = process_memory(), time.monotonic()
        with self._lock:
            self._memory, self._looked = memory, now
            self._peak_memory = max(self._peak_memory, memory)
            read = self._read().bytes
            self._window.append((now, read))
            while len(self._window) > 1 and self._window[1][0] <= now - 1.0:
                self._window.pop(0)
            then, before = self._window[0]
            if now - then >= 1.0:
                self._peak_bandwidth = max(self._peak_bandwidth, (read - before) / (now - then))
