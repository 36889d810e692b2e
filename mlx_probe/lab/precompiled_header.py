"""A precompiled header for the kernels that `mx.compile` has a C++ compiler make on the CPU.

A compiled training step has some thirty kernels, and g++ spends 1.2 of the 1.4 seconds of each on
one and the same header. GCC looks for NAME.gch before NAME in every folder of its search, first
in that of the source: MLX's folder for temporary files. The machine code is the same, byte for
byte; a file that does not suit the compiler or its options is passed over.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx

__all__ = ["precompile_header"]

HEADER = "mlx/backend/cpu/compiled_preamble.h"
# What MLX 0.32 gives g++ for each kernel.
OPTIONS = ("-std=c++17", "-O3", "-Wall", "-fPIC")


def precompile_header(compiler: str) -> None:
    """Compile MLX's header once for this version of MLX, 4 seconds and 50 MB; Linux only.

    Nothing happens if it is there, or cannot be made: kernels then take longer to compile.

    Args:
        compiler: GCC's command.
    """
    include = Path(mx.__file__).parent / "include"
    # Where MLX keeps kernels from one process to the next.
    target = Path(tempfile.gettempdir(), "mlx", version("mlx"), "cpu", f"{HEADER}.gch")
    if sys.platform != "linux" or target.exists() or not (include / HEADER).is_file():
        return
    new = target.with_name(f".{os.getpid()}.gch")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [compiler, *OPTIONS, "-x", "c++-header", f"-I{include}", str(include / HEADER)]
        subprocess.run([*command, "-o", str(new)], capture_output=True, check=True)
        new.replace(target)
    except (OSError, subprocess.CalledProcessError):
        new.unlink(missing_ok=True)
