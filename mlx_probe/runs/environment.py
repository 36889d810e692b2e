"""The environment of a job: packages, interpreter, processor, linear algebra."""

from __future__ import annotations

import os
import platform
from functools import cache
from typing import Any

from mlx_probe.compute import native
from mlx_probe.compute.backends.mlx.blas import mlx_blas
from mlx_probe.core.machine import cpu_model

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
    """Versions of everything that decides a job's numbers.

    Returns:
        "python", "packages" (installed ones of `PACKAGES`), "platform", "machine", "cpu",
        "cpu_count", "blas": what numpy was built against and the thread pools loaded in this
        process, "mlx_blas": path of the library that MLX's products on the CPU call, None for
        the one that came with MLX, and "kernels": each library of compiled kernels, "used" or
        why not.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "blas": _blas(),
        "mlx_blas": mlx_blas(),
        "kernels": {each.name: each.reason or "used" for each in native.statuses()},
    }


# Installed packages stay as they are while a process runs; looking one up takes a millisecond.
@cache
def _version(package: str) -> str | None:
    from importlib import metadata  # with an e-mail parser: no job needs it to begin

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


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
