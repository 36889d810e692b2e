"""The MLX backend: Metal, CUDA, or MLX's CPU stream.

Whoever imports MLX calls `prepare_mlx` first; `BACKENDS` does.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from mlx_probe.compute.backends.mlx.blas import load_blas

__all__ = ["NO_GPU", "prepare_mlx", "runs_on_cpu_only"]

# Fact and remedy.
NO_GPU = (
    "MLX sees no GPU on this machine",
    "Use --device cpu, or --backend numpy, which is faster on a CPU",
)

# What pip calls the folder with the metadata of a package that holds MLX's library.
_BUILD = re.compile(r"mlx_(cpu|metal|cuda\w*)-.+\.dist-info")


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

    MLX's wheels bring their library in a second package: mlx-metal, mlx-cuda-12, mlx-cpu ... The
    names of the folders that pip leaves say which. `importlib.metadata` reads them with an
    e-mail parser, whose import takes longer than all the rest.
    """
    builds = {
        build[1]
        for folder in sys.path
        for path in Path(folder).glob("mlx_*.dist-info")
        if (build := _BUILD.fullmatch(path.name))
    }
    return builds == {"cpu"}
