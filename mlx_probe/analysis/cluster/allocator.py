"""glibc's allocator in a worker: as it is in any other process."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

__all__ = ["as_by_itself"]

# Of glibc's malloc.h, and the largest values that glibc chooses by itself, in bytes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP, _TRIM = 32 << 20, 64 << 20


def as_by_itself() -> None:
    """Undo what Dask sets for the processes that it starts, where it did.

    It makes glibc give all free memory back at once, and fixes the size from which an array gets
    pages of its own: then every matrix costs page faults, and small ones take twice as long.
    Without it, glibc raises both thresholds as large arrays come and go.
    """
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        return
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP)
        mallopt(_M_TRIM_THRESHOLD, _TRIM)
