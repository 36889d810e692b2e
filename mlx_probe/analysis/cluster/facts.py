"""What a worker is: its versions, its backend, its machine. Everything here runs on the worker."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import mlx_probe
from mlx_probe.compute.backends import BACKENDS, choose_backend
from mlx_probe.compute.calibration import load_calibration
from mlx_probe.core import version
from mlx_probe.core.errors import BackendError
from mlx_probe.core.machine import blas_library, usable_cores
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.monitor.usage import process_memory

__all__ = ["BACKEND_VARIABLE", "DEVICE_VARIABLE", "WorkerFacts", "gather_facts", "local_choice"]

# A worker with one of these set has its own answer to "auto".
BACKEND_VARIABLE, DEVICE_VARIABLE = "MLX_PROBE_ANALYZE_BACKEND", "MLX_PROBE_ANALYZE_DEVICE"
_DEVICES = ("auto", "cpu", "gpu")
# Rooms whose code decides a row.
_ROOMS = ("core", "source", "checkpoint", "compute", "metrics", "runs", "analysis")


@dataclass(frozen=True)
class WorkerFacts:
    """A worker process and its machine.

    Attributes:
        host: Name of the machine.
        pid: Number of the process on it.
        code_version: Version of mlx-probe.
        sources: SHA-256 of the code that decides rows, in hex: two builds of one version differ
            in it.
        python: Version of the interpreter.
        platform: The system with its version.
        packages: Versions of the installed packages that touch numbers or files.
        dask: Version of ``distributed``; "" if it is not installed.
        blas: The linear algebra library that numpy calls.
        kernels: Each library of compiled kernels, "used" or why not.
        cpu: The processor's name.
        cores: Cores that the process may use.
        memory: Bytes of main memory.
        available_memory: Bytes of it that are free or can be freed.
        process_memory: Resident bytes of the process.
        backend: The backend that computes there; None if what was asked for is not there.
        device: The device that it works on; None without a backend.
        backend_reason: Why it is this backend, or why there is none, in a sentence.
        backend_remedy: What to do where there is none; "" otherwise.
        calibration: `Calibration.describe`; None if it was not asked for.
    """

    host: str
    pid: int
    code_version: str
    sources: str
    python: str
    platform: str
    packages: Mapping[str, str]
    dask: str
    blas: str
    kernels: Mapping[str, str]
    cpu: str
    cores: int
    memory: int
    available_memory: int
    process_memory: int
    backend: str | None
    device: str | None
    backend_reason: str
    backend_remedy: str = ""
    calibration: Mapping[str, Any] | None = field(default=None)

    def describe(self) -> dict[str, Any]:
        """All facts, for JSON."""
        return asdict(self)


def gather_facts(backend: str, device: str, calibrate: bool = False) -> WorkerFacts:
    """The facts of this process and machine.

    Args:
        backend: Key in `BACKENDS`, or "auto"; see `local_choice`.
        device: "auto", "cpu" or "gpu".
        calibrate: Whether the rates of the machine are needed: 0.2 s where they are not kept.
    """
    environment = package_versions()
    memory = psutil.virtual_memory()
    chosen = _backend(backend, device)
    rates = load_calibration(rates=True).describe() if calibrate else None
    return WorkerFacts(
        host=socket.gethostname(),
        pid=os.getpid(),
        code_version=version.__version__,
        sources=_sources(),
        python=environment["python"],
        platform=environment["platform"],
        packages=environment["packages"],
        dask=_dask(),
        blas=blas_library(),
        kernels=environment["kernels"],
        cpu=environment["cpu"],
        cores=usable_cores(),
        memory=int(memory.total),
        available_memory=int(memory.available),
        process_memory=process_memory(),
        calibration=rates,
        **chosen,
    )


def local_choice(backend: str, device: str) -> tuple[str, str]:
    """The backend and device to ask for on this machine.

    Args:
        backend: What the user of the cluster asked for. "auto" leaves it to this machine's
            ``MLX_PROBE_ANALYZE_BACKEND``, where that is set.
        device: The same; ``MLX_PROBE_ANALYZE_DEVICE``.

    Raises:
        BackendError: A variable names what there is not.
    """
    if backend == "auto":
        backend = _variable(BACKEND_VARIABLE, ("auto", *BACKENDS))
    if device == "auto":
        device = _variable(DEVICE_VARIABLE, _DEVICES)
    return backend, device


def _variable(name: str, choices: tuple[str, ...]) -> str:
    value = os.environ.get(name) or "auto"
    if value not in choices:
        raise BackendError(
            f"{name} is {value!r}", f"Set it to one of {', '.join(choices)}, or leave it unset"
        )
    return value


def _backend(backend: str, device: str) -> dict[str, Any]:
    """The fields of the backend."""
    try:
        made, reason = choose_backend(*local_choice(backend, device))
    except BackendError as error:
        missing = {"backend": None, "device": None, "backend_reason": error.fact}
        return {**missing, "backend_remedy": error.remedy}
    return {"backend": made.name, "device": made.device, "backend_reason": reason}


def _dask() -> str:
    try:
        return metadata.version("distributed")
    except metadata.PackageNotFoundError:
        return ""


# Once: what is imported stays as it is, whatever happens to the files.
@cache
def _sources() -> str:
    package = Path(mlx_probe.__file__).parent
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((package / room).rglob("*.py")):
            digest.update(ascii(path.relative_to(package).as_posix()).encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
