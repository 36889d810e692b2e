"""MLX on this machine: its version, its device, and the speed of its products on the CPU."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from mlx_probe.compute.backends import BACKENDS

__all__ = ["MlxStatus", "cpu_product_rate", "mlx_status"]

# The fastest of this many is hardly disturbed by other work on the machine.
REPEATS = 5


@dataclass(frozen=True)
class MlxStatus:
    """MLX on this machine.

    Attributes:
        version: Its version.
        gpu: Whether it can run on a GPU (Metal or CUDA).
        device: Name of the GPU, or of the processor where there is none.
        working_set: Bytes that the GPU should hold at most; None if MLX does not say.
        longest_buffer: Bytes of the largest single array; None if MLX does not say.
    """

    version: str
    gpu: bool
    device: str
    working_set: int | None = None
    longest_buffer: int | None = None


def mlx_status() -> MlxStatus:
    """Ask MLX for its device and limits.

    Raises:
        BackendError: MLX cannot be imported.
    """
    # By the table, which sets what must be set before MLX is imported.
    BACKENDS["mlx"]("cpu")
    import mlx.core as mx

    gpu = bool(mx.is_available(mx.gpu))
    info: dict[str, Any] = dict(mx.device_info(mx.gpu if gpu else mx.cpu))
    # CUDA's device has no recommended working set: all of its memory may be used.
    limit = info.get("max_recommended_working_set_size") or info.get("total_memory")
    longest = info.get("max_buffer_length")
    return MlxStatus(
        version=metadata.version("mlx"),
        gpu=gpu,
        device=str(info.get("device_name", "unknown")),
        working_set=int(limit) if limit else None,
        longest_buffer=int(longest) if longest else None,
    )


def cpu_product_rate(side: int) -> float:
    """Flops a second of a float32 product on MLX's CPU stream.

    Args:
        side: Rows and columns of both factors.

    Raises:
        BackendError: MLX cannot be imported.
    """
    BACKENDS["mlx"]("cpu")
    import mlx.core as mx

    a = mx.array(np.ones((side, side), np.float32))
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        mx.eval(mx.matmul(a, a, stream=mx.cpu))
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)
