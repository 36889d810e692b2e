"""What computed a table: packages, interpreter, processor, linear algebra."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["package_versions"]

# Every package that touches a number or a file of a run.
PACKAGES = (
    "numpy",
    "mlx",
    "mlx-metal",
    "mlx-cpu",
    "gguf",
    "safetensors",
    "pyarrow",
    "pandas",
    "huggingface_hub",
    "pip",
    "psutil",
    "threadpoolctl",
    "pyyaml",
    "click",
    "rich",
)


def package_versions() -> dict[str, Any]:
    """Versions of everything that decides a run's numbers.

    Returns:
        "python", "packages" (installed ones of `PACKAGES`), "platform", "machine", "cpu",
        "cpu_count", and "blas": what numpy was built against and the thread pools loaded in
        this process.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "blas": _blas(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
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


def _blas() -> dict[str, Any]:
    import numpy as np
    import threadpoolctl

    # Accelerate is invisible to threadpoolctl: only numpy's build configuration names it.
    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    pools = [
        {key: pool.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
        for pool in threadpoolctl.threadpool_info()
    ]
    return {
        "numpy": f"{built.get('name', 'unknown')} {built.get('version', '')}".strip(),
        "thread_pools": pools,
    }
