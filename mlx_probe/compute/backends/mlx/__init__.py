"""The MLX backend: Metal, CUDA, or MLX's CPU stream.

Whoever imports MLX calls `prepare_mlx` first; `BACKENDS` does.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from importlib import metadata

from mlx_probe.compute.backends.mlx.blas import load_blas

__all__ = ["NO_GPU", "prepare_mlx", "runs_on_cpu_only"]

# Fact and remedy.
NO_GPU = (
    "MLX sees no GPU on this machine",
    "Use --device cpu, or --backend numpy, which is faster on a CPU",
)


def prepare_mlx() -> None:
    """Set what MLX reads once, when it is imported.

    Raises:
        ConfigError: MLX_PROBE_MLX_BLAS names what is not a BLAS library.
    """
    # Tensor cores and newer Apple GPUs may shorten float32 products to TF32 unless told not to.
    os.environ.setdefault("MLX_ENABLE_TF32", "0")
    load_blas()


def runs_on_cpu_only() -> bool:
    """Whether the installed MLX was built without a GPU: nothing needs to be imported to know.

    MLX's wheels bring their library in a second package: mlx-metal, mlx-cuda-12, mlx-cpu ...
    """
    builds = set()
    with suppress(metadata.PackageNotFoundError):
        asked = metadata.requires("mlx") or []
        builds = {name for line in asked for name in re.findall(r"^mlx-[\w-]+", line)}
    return [name for name in builds if _is_installed(name)] == ["mlx-cpu"]


def _is_installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False
