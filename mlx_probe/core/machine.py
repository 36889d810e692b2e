"""This machine: its processor, its cores, the linear algebra that numpy calls on it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

__all__ = ["blas_library", "cpu_model", "usable_cores"]


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's marketing name; "" where the system does not tell."""
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


def blas_library() -> str:
    """What numpy was built against, and which processor's kernels that chose here."""
    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    words = [built.get("name", "unknown"), built.get("version", "")]
    # Other packages may have loaded a BLAS of their own.
    own = (pool for pool in threadpool_info() if "numpy" in pool["filepath"])
    words += [pool.get("architecture", "") for pool in own]
    return " ".join(filter(None, words))
