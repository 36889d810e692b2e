"""The cores that a task may use: a number that changes while the task runs.

A task begins with one core. When no other task can start, the schedule lends it the cores that
would be idle, and takes them back when another task starts. Work that can be divided asks for
the number each time it divides: `width` in Python, the integer at `width_address` in C. No
result may depend on the number.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["CoreShare", "threads", "width", "width_address"]


class CoreShare:
    """A number of cores that one thread may change while others read it.

    Args:
        cores: The number at first.
    """

    __slots__ = ("_value",)

    def __init__(self, cores: int = 1) -> None:
        self._value = ctypes.c_int64(cores)

    @property
    def cores(self) -> int:
        """Cores that the owner may use now, at least one."""
        return self._value.value

    @cores.setter
    def cores(self, cores: int) -> None:
        self._value.value = cores

    @property
    def address(self) -> int:
        """Address of the number, a 64-bit integer, as long as this object lives.

        Reading and writing it is one instruction on a 64-bit processor. C code declares it
        volatile, because it may change at any time.
        """
        return ctypes.addressof(self._value)


# What a caller has that no schedule runs. Nobody changes it.
_SINGLE = CoreShare()
_share: ContextVar[CoreShare] = ContextVar("share", default=_SINGLE)


@contextmanager
def threads(share: int | CoreShare) -> Iterator[None]:
    """Let the work of this block use several cores, where it can be divided.

    Args:
        share: Cores that nothing else uses during this time, or an object whose number
            another thread changes.
    """
    token = _share.set(CoreShare(share) if isinstance(share, int) else share)
    try:
        yield
    finally:
        _share.reset(token)


def width() -> int:
    """Cores that the caller's work may use now; see `threads`."""
    return _share.get().cores


def width_address() -> int:
    """Address of the 64-bit integer that `width` reads, for C code that runs in a block.

    It is valid until the innermost block of `threads` ends.
    """
    return _share.get().address
