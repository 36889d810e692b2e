"""Backends: what decodes stored bytes, works on elements and factorizes.

`BACKENDS` is the table; `choose_backend` turns "auto" into one of its members and says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from mlx_probe.compute.backends.protocol import Backend, Gram
from mlx_probe.core.errors import BackendError

__all__ = ["BACKENDS", "Backend", "Gram", "choose_backend"]


def _numpy(device: str) -> Backend:
    from mlx_probe.compute.backends.numpy.backend import NumpyBackend

    if device == "gpu":
        raise BackendError(
            "the numpy backend runs on the CPU only", "Use --backend mlx, or drop --device gpu"
        )
    return NumpyBackend()


def _mlx(device: str) -> Backend:
    # Tensor cores and newer Apple GPUs may shorten float32 products to TF32 unless told not
    # to, and MLX reads this once, when it is imported.
    os.environ.setdefault("MLX_ENABLE_TF32", "0")
    try:
        from mlx_probe.compute.backends.mlx.backend import MlxBackend
    except ImportError as error:
        raise BackendError(
            f"MLX cannot be imported: {error}",
            "Use --backend numpy, or install MLX: pip install mlx (macOS), 'mlx[cpu]' (Linux)",
        ) from error
    return MlxBackend(device)


BACKENDS: dict[str, Callable[[str], Backend]] = {"numpy": _numpy, "mlx": _mlx}


def choose_backend(name: str, device: str) -> tuple[Backend, str]:
    """Make the backend that the user asked for.

    Args:
        name: Key of `BACKENDS`, or "auto": MLX when it has a GPU, numpy otherwise.
        device: "auto", "cpu" or "gpu".

    Returns:
        The backend, and one sentence that says which it is and why.

    Raises:
        BackendError: This machine does not have what was asked for.
    """
    if name != "auto":
        backend = BACKENDS[name](device)
        return backend, f"{backend.name} on {backend.device}: as asked"
    if device == "cpu":
        return BACKENDS["numpy"](device), "numpy on cpu: faster there than MLX"
    try:
        backend = BACKENDS["mlx"]("gpu")
    except BackendError as error:
        if device == "gpu":
            raise
        return BACKENDS["numpy"]("cpu"), f"numpy on cpu: {error.fact}"
    return backend, f"mlx on {backend.device}: MLX has a GPU here"
