"""Backends: they decode stored bytes and compute with elements and matrices.

`BACKENDS` is the table; `choose_backend` turns "auto" into one of its members and says why. A new
backend is a package beside `numpy` and `mlx`, and a line in the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from mlx_probe.compute.backends.protocol import Backend, Gram
from mlx_probe.core.errors import BackendError

__all__ = ["BACKENDS", "Backend", "BackendKind", "Gram", "choose_backend"]


@dataclass(frozen=True)
class BackendKind:
    """A member of `BACKENDS`.

    Attributes:
        name: What the user calls it.
        make: Makes the backend for one of ``devices``, or for "auto": the GPU where it has one.
            Imports what it needs, and raises BackendError where that is not there.
        devices: Devices that it can run on.
        description: What it computes with, and where, in one line.
        install: How to get it.
    """

    name: str
    make: Callable[[str], Backend]
    devices: tuple[str, ...]
    description: str
    install: str

    def __call__(self, device: str) -> Backend:
        """Make the backend.

        Args:
            device: "auto", "cpu" or "gpu".

        Raises:
            BackendError: This machine does not have it, or not on that device.
        """
        if device not in ("auto", *self.devices):
            others = " or ".join(kind.name for kind in BACKENDS.values() if device in kind.devices)
            raise BackendError(
                f"the {self.name} backend runs on the {self.devices[0].upper()} only",
                f"Use --backend {others}, or drop --device {device}",
            )
        return self.make(device)


def _numpy(device: str) -> Backend:
    from mlx_probe.compute.backends.numpy.backend import NumpyBackend

    return NumpyBackend()


def _mlx(device: str) -> Backend:
    from mlx_probe.compute.backends.mlx import NO_GPU, prepare_mlx, runs_on_cpu_only

    if device == "gpu" and runs_on_cpu_only():
        raise BackendError(*NO_GPU)
    prepare_mlx()
    try:
        from mlx_probe.compute.backends.mlx.backend import MlxBackend
    except ImportError as error:
        raise BackendError(
            f"MLX cannot be imported: {error}",
            f"Use --backend numpy, or install MLX: {BACKENDS['mlx'].install}",
        ) from error
    return MlxBackend(device)


BACKENDS: dict[str, BackendKind] = {
    kind.name: kind
    for kind in (
        BackendKind("numpy", _numpy, ("cpu",), "float64 in numpy", "pip install numpy"),
        BackendKind(
            "mlx",
            _mlx,
            ("cpu", "gpu"),
            "float32 and integers in MLX; eigenvalues in float64 on the CPU",
            "pip install mlx (macOS), 'mlx[cpu]' (Linux)",
        ),
    )
}


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
        slow = "; its own BLAS is many times slower than numpy: see `mlx-probe doctor`"
        return backend, f"{backend.name} on {backend.device}: as asked" + (
            slow if _has_slow_products(backend) else ""
        )
    if device == "cpu":
        return BACKENDS["numpy"](device), "numpy on cpu: faster there than MLX"
    try:
        backend = BACKENDS["mlx"]("gpu")
    except BackendError as error:
        if device == "gpu":
            raise
        return BACKENDS["numpy"]("cpu"), f"numpy on cpu: {error.fact}"
    return backend, f"mlx on {backend.device}: MLX has a GPU here"


def _has_slow_products(backend: Backend) -> bool:
    """Whether products are those of the reference BLAS that MLX's Linux wheel brings."""
    if backend.name != "mlx" or backend.device != "cpu" or sys.platform != "linux":
        return False
    from mlx_probe.compute.backends.mlx.blas import mlx_blas

    return mlx_blas() is None
