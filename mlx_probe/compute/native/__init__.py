"""Compiled kernels in C: optional, and never the only way to a number.

Each library is one C file in ``kernels/``, compiled when the package is installed where a C
compiler is; it is no Python module. Without them, or with ``MLX_PROBE_NATIVE=0``, numpy and
LAPACK compute the same numbers within the same bounds. `ctypes` releases the GIL while a kernel
runs. BLAS and LAPACK come by address from the library that numpy has loaded
(`fortran.address`): nothing is linked.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from mlx_probe.compute import fortran

__all__ = ["LIBRARIES", "VARIABLE", "Library", "library", "statuses", "used", "without"]

# Set to 0, it switches all kernels off.
VARIABLE = "MLX_PROBE_NATIVE"

# Interface of the C files. Each defines ``probe_<name>_abi`` with its number: a library that was
# compiled from another version of the sources is not used.
LIBRARIES = {"eigen": 4, "elements": 5}

_REINSTALL = "Install mlx-probe again on a machine with a C compiler (gcc or clang)"

# Libraries whose kernels call BLAS.
_CALL_BLAS = ("eigen",)

_NUMPY = "Install numpy's own wheel: pip install --force-reinstall numpy"


@dataclass(frozen=True)
class Library:
    """One compiled library.

    Attributes:
        name: Key in `LIBRARIES`.
        handle: The library; None if it cannot be used.
        reason: Why it cannot be used; None if it can.
        remedy: What to do about it; None if it can.
    """

    name: str
    handle: ctypes.CDLL | None
    reason: str | None = None
    remedy: str | None = None


_off: ContextVar[bool] = ContextVar("off", default=False)


@contextmanager
def without() -> Iterator[None]:
    """Compute without kernels in this context, as on a machine that has none."""
    token = _off.set(True)
    try:
        yield
    finally:
        _off.reset(token)


def library(name: str) -> ctypes.CDLL | None:
    """The library with a name; None if it is not there or switched off.

    Args:
        name: Key in `LIBRARIES`.
    """
    return None if _off.get() else _status(name).handle


def statuses() -> tuple[Library, ...]:
    """Every library, with the reason for each that cannot be used."""
    return tuple(_status(name) for name in LIBRARIES)


def used() -> dict[str, int]:
    """The libraries that compute, with the number of their interface; results depend on them."""
    return {status.name: LIBRARIES[status.name] for status in statuses() if status.handle}


def _status(name: str) -> Library:
    # Not in `_load`, which is called once: tests set and unset it in one process.
    if os.environ.get(VARIABLE) == "0":
        return Library(name, None, f"{VARIABLE} is 0", f"Unset {VARIABLE}")
    return _load(name)


@cache
def _load(name: str) -> Library:
    folder = Path(__file__).with_name("kernels")
    built = [folder / f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES]
    path = next((path for path in built if path.exists()), None)
    if path is None:
        return Library(name, None, "it was not compiled", _REINSTALL)
    try:
        handle = ctypes.CDLL(str(path))
        abi = ctypes.c_int.in_dll(handle, f"probe_{name}_abi").value
    except (OSError, ValueError) as error:
        return Library(name, None, f"{path.name} cannot be loaded: {error}", _REINSTALL)
    if abi != LIBRARIES[name]:
        return Library(name, None, f"{path.name} is of another version", _REINSTALL)
    if name in _CALL_BLAS and not fortran.is_available():
        return Library(name, None, "numpy's BLAS lacks routines that the kernels call", _NUMPY)
    return Library(name, handle)
