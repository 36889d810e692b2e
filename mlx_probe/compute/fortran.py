"""Calls of BLAS and LAPACK routines by ctypes, in the library that numpy has loaded.

The OpenBLAS that numpy's wheels bundle has many more routines than numpy.linalg wraps. ctypes
releases the GIL while one runs.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
from threadpoolctl import threadpool_info

__all__ = ["Info", "address", "call", "has", "integer_bits", "is_available"]

ROUTINES = (
    *("dsyrk", "dgemm", "dsymv", "dsyevd", "dsyevd_2stage"),
    *("dpotrf", "dsytrf", "dtpqrt", "dgesdd"),
    *("dsytrd", "dstebz", "dstein", "dstedc", "dormtr"),
)

# Routines that a library may lack: `has` says which ones it has.
OPTIONAL = ("dsytrd", "dsytrd_2stage", "dsterf")

# How builds decorate the routines' names: numpy's wheels, other OpenBLAS and MKL, Accelerate.
SPELLINGS = ("scipy_{}_64_", "scipy_{}_", "{}_64_", "{}_", "{}$NEWLAPACK$ILP64")


class Info:
    """LAPACK's return code: 0 for success."""

    def __init__(self) -> None:
        self._value = ctypes.c_int64(0)
        self.reference = ctypes.byref(self._value)

    @property
    def code(self) -> int:
        """The lower half, which is all that a library with 32-bit integers writes."""
        return ctypes.c_int32(self._value.value & 0xFFFFFFFF).value


def call(routine: str, *arguments: Any) -> None:
    """Call by reference, as Fortran does, with the lengths of its strings at the end.

    Integers are 64 bits wide; a library that expects 32 reads their lower half, which on the
    little-endian machines that numpy's wheels are for is the number itself.

    Args:
        routine: One of `ROUTINES`, or of `OPTIONAL` if the library has it.
        arguments: Arrays, strings, integers, an `Info`, or values of ctypes.
    """
    routines = _routines()
    assert routines is not None
    references: list[Any] = []
    lengths: list[ctypes.c_size_t] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            references.append(ctypes.c_void_p(argument.ctypes.data))
        elif isinstance(argument, str):
            references.append(ctypes.c_char_p(argument.encode()))
            lengths.append(ctypes.c_size_t(len(argument)))
        elif isinstance(argument, int):
            references.append(ctypes.byref(ctypes.c_int64(argument)))
        elif isinstance(argument, Info):
            references.append(argument.reference)
        else:
            references.append(ctypes.byref(argument))
    routines[routine](*references, *lengths)


def address(routine: str) -> ctypes.c_void_p:
    """Address of a routine, for compiled code that calls it.

    Args:
        routine: One of `ROUTINES`, or of `OPTIONAL` if the library has it.
    """
    routines = _routines()
    assert routines is not None
    return ctypes.cast(cast(Any, routines[routine]), ctypes.c_void_p)


def has(routine: str) -> bool:
    """Whether all of `ROUTINES` and this one are in numpy's library.

    Args:
        routine: One of `OPTIONAL`.
    """
    return is_available() and routine in (_routines() or ())


@cache
def is_available() -> bool:
    """Whether all of `ROUTINES` are in numpy's library and compute what they should."""
    if _routines() is None:
        return False
    x, matrix, values = np.array([[2.0, 1.0, 0.0]]), np.eye(3), np.empty(3)
    one, work, integers = ctypes.c_double(1.0), np.empty(256), np.zeros(64, np.int64)
    call("dsyrk", "L", "N", 3, 1, one, x, 3, one, matrix, 3)
    call("dsyevd", "N", "L", 3, matrix, 3, values, work, work.size, integers, 64, Info())
    return bool(np.allclose(values, (1.0, 1.0, 6.0), rtol=1e-14))


@cache
def integer_bits() -> int:
    """Width of the library's integers: one of 32 bits leaves half of a word as it was."""
    pivots, work, info = np.full(1, -1, np.int64), np.empty(64), Info()
    call("dsytrf", "L", 1, np.ones((1, 1)), 1, pivots, work, work.size, info)
    return 64 if pivots[0] == 1 else 32


@cache
def _routines() -> dict[str, Callable[..., None]] | None:
    """Functions of `ROUTINES` and those of `OPTIONAL` that are there; None without `ROUTINES`."""
    if sys.byteorder != "little":
        return None
    paths = [info["filepath"] for info in threadpool_info() if info["user_api"] == "blas"]
    # Other packages may have loaded a BLAS of their own.
    paths.sort(key=lambda path: "numpy" not in path)
    if sys.platform == "darwin":
        paths.append("/System/Library/Frameworks/Accelerate.framework/Accelerate")
    for path in paths:
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for spelling in SPELLINGS:
            try:
                routines = {name: getattr(library, spelling.format(name)) for name in ROUTINES}
            except AttributeError:
                continue
            for name in OPTIONAL:
                if hasattr(library, spelling.format(name)):
                    routines[name] = getattr(library, spelling.format(name))
            for routine in routines.values():
                routine.restype = None
            return routines
    return None
