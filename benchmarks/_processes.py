"""Work in processes of its own: time, and peak memory by the system's account."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import click

__all__ = ["PROBE", "Used", "cold_option", "repeated", "run", "seconds_of"]

T = TypeVar("T")

PROBE = str(Path(sys.executable).with_name("mlx-probe"))

# A process between this one and the work, because a child's account begins with the memory of
# the process that it was forked from. Kilobytes on Linux, bytes on macOS.
LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began
peak = usage.ru_maxrss / (1e3 if sys.platform == "linux" else 1e6)
print(status, seconds, peak, usage.ru_utime + usage.ru_stime)
"""


cold_option = click.option(
    "--cold", is_flag=True, help="Count the first turn, too, which may download and compile."
)


class Used(NamedTuple):
    """What one process took.

    Attributes:
        seconds: From its start to its end.
        peak: Resident megabytes, at most.
        cpu: Processor seconds of it and of the processes that it started.
    """

    seconds: float
    peak: float
    cpu: float


def run(command: Sequence[object], variables: Mapping[str, str] | None = None) -> Used:
    """Time, memory and processor time of one process.

    Args:
        command: Its words.
        variables: Of its environment, besides those of this process.

    Raises:
        SystemExit: The process failed.
    """
    words = [str(word) for word in command]
    launched = [sys.executable, "-c", LAUNCHER, *words]
    environment = {**os.environ, **(variables or {})}
    output = subprocess.run(launched, env=environment, capture_output=True, text=True, check=True)
    status, *used = map(float, output.stdout.split())
    if status:
        raise SystemExit(f"failed: {' '.join(words)}")
    return Used(*used)


def repeated(once: Callable[[], T], count: int, cold: bool) -> list[T]:
    """What each of so many turns gave; one more that is not counted comes first, unless cold."""
    if not cold:
        once()
    return [once() for _ in range(count)]


def seconds_of(work: Callable[[], object]) -> float:
    """Wall seconds of one call in this process."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
