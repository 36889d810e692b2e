"""This machine: its processor, its cores, and the linear algebra library that numpy uses."""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

__all__ = ["blas_library", "cpu_model", "host_name", "usable_cores"]


@cache
def host_name() -> str:
    """The name of this machine in its network."""
    return socket.gethostname()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's marketing name; "" if the system does not give it."""
    try:
        if platform.system() == "Darwin":
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=5
            ).stdout.strip()
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except (OSError, subprocess.SubprocessError):
        return platform.processor()
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1] if model else platform.processor()


@cache
def blas_library() -> str:
    """The library that numpy was built with, and the processor type that it chose here.

    Asking for it takes milliseconds, and an analysis asks several times.
    """
    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    words = [built.get("name", "unknown"), built.get("version", "")]
    # Other packages may have loaded another BLAS.
    own = (pool for pool in threadpool_info() if "numpy" in pool["filepath"])
    words += [pool.get("architecture", "") for pool in own]
    return " ".join(filter(None, words))
