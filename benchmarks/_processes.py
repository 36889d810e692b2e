"""Work in processes of its own: wall seconds, and peak memory by the system's account."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["PROBE", "run", "seconds_of"]

PROBE = str(Path(sys.executable).with_name("mlx-probe"))

# A process between this one and the work, because a child's account begins with the memory of
# the process that it was forked from. Kilobytes on Linux, bytes on macOS.
LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began
print(status, seconds, usage.ru_maxrss / (1e3 if sys.platform == "linux" else 1e6))
"""


def run(command: Sequence[object]) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one process.

    Raises:
        SystemExit: The process failed.
    """
    words = [str(word) for word in command]
    launched = [sys.executable, "-c", LAUNCHER, *words]
    output = subprocess.run(launched, capture_output=True, text=True, check=True).stdout
    status, seconds, peak = map(float, output.split())
    if status:
        raise SystemExit(f"failed: {' '.join(words)}")
    return seconds, peak


def seconds_of(work: Callable[[], object]) -> float:
    """Wall seconds of one call in this process."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
