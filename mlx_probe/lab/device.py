"""Where MLX computes, and whether `mx.compile` works there."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from typing import Literal

import mlx.core as mx
import psutil

from mlx_probe.core.errors import BackendError
from mlx_probe.lab.kernel_compiler import use_kernel_compiler
from mlx_probe.lab.precompiled_header import precompile_header

__all__ = ["DeviceName", "available_memory", "compiles", "device_label", "use_device"]

DeviceName = Literal["auto", "cpu", "gpu"]

# What MLX runs to compile for the CPU, on Linux and on macOS.
COMPILER = "g++"


def use_device(name: DeviceName = "auto") -> mx.Device:
    """Let MLX compute on a device from now on.

    Args:
        name: "cpu", "gpu" (Metal or CUDA), or "auto": the GPU where MLX has one.

    Returns:
        The device.

    Raises:
        BackendError: There is no GPU.
    """
    gpu = mx.is_available(mx.gpu)
    if name == "gpu" and not gpu:
        raise BackendError("MLX sees no GPU on this machine", "Use --device cpu")
    device = mx.Device(mx.gpu if gpu and name != "cpu" else mx.cpu, 0)
    mx.set_default_device(device)
    return device


def device_label() -> str:
    """The device that MLX computes on, for people: "cpu (AMD EPYC ...)", "gpu (Apple M3 Ultra)"."""
    device = mx.default_device()
    name = str(dict(mx.device_info(device)).get("device_name", "")).strip()
    kind = "gpu" if device.type == mx.gpu else "cpu"
    return f"{kind} ({name})" if name else kind


def available_memory(gpu: bool) -> int:
    """Bytes that a run may take at most."""
    if gpu:
        info = dict(mx.device_info(mx.gpu))
        limit = info.get("max_recommended_working_set_size") or info.get("total_memory")
        if limit:
            return int(limit)
    return int(psutil.virtual_memory().total)


def compiles() -> tuple[bool, str]:
    """Whether `mx.compile` makes kernels on the device in use, and why or why not.

    On a GPU always. On the CPU MLX calls a C++ compiler while the program runs; without one it
    computes the same, one operation at a time.
    """
    if os.environ.get("MLX_DISABLE_COMPILE"):
        return False, "MLX_DISABLE_COMPILE is set"
    if mx.default_device().type == mx.gpu:
        return True, "a GPU needs no compiler"
    return _compiles_on_cpu()


@cache
def _compiles_on_cpu() -> tuple[bool, str]:
    try:
        subprocess.run([COMPILER, "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False, f"no C++ compiler: MLX calls {COMPILER} to compile for the CPU"
    precompile_header(COMPILER)
    use_kernel_compiler(COMPILER)
    try:
        # A compiler can lack its headers, and the folder for temporary files can be full.
        with mx.stream(mx.cpu):
            mx.eval(mx.compile(lambda x: mx.exp(x) * x + 1)(mx.zeros(4)))
    except RuntimeError as error:
        return False, f"{COMPILER} fails: {str(error).strip().splitlines()[0]}"
    return True, f"{COMPILER} compiles for the CPU"
