"""Bytes of a weight file as memory, mapped range by range."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.header import damaged, unreadable
from mlx_probe.errors import CheckpointError

__all__ = ["MappedFile", "MappedRange"]


class MappedRange:
    """A read-only stretch of a file; unmapped with the last array that shows it.

    Attributes:
        data: uint8, shape (bytes,), not writable.
    """

    def __init__(self, fileno: int, start: int, stop: int) -> None:
        lead = start % mmap.ALLOCATIONGRANULARITY
        self._map = mmap.mmap(
            fileno, stop - start + lead, access=mmap.ACCESS_READ, offset=start - lead
        )
        whole = np.frombuffer(self._map, np.uint8)
        self._base = whole.ctypes.data
        self.data: NDArray[np.uint8] = whole[lead:]

    def release(self, part: NDArray[Any]) -> None:
        """Give the pages of a contiguous piece of ``data`` back to the system.

        They stay readable, from the page cache or the disk again: what has been streamed
        must not count as memory of this process.
        """
        start = part.ctypes.data - self._base
        # Inwards: the pages at both ends hold bytes of the neighbours.
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (start + part.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last and hasattr(mmap, "MADV_DONTNEED"):
            with suppress(OSError):  # advice: some file systems take none
                self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


class MappedFile:
    """A weight file that is mapped only where and while somebody reads.

    Holds neither map nor file descriptor itself: a map of the whole shard kept open costs a
    descriptor each, and macOS allows 256 by default, where large models have as many shards.
    Threads share nothing but this description.

    Args:
        path: The file.
        size: Its bytes when the header was read.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size
        self._closed = False

    def map(self, start: int, stop: int) -> MappedRange:
        """Map bytes ``start`` to ``stop``, at least one.

        Raises:
            CheckpointError: The file is closed, gone, or no longer as long as it was.
        """
        if self._closed:
            raise CheckpointError(f"{self._path}: read after close", "Open the checkpoint again")
        try:
            with self._path.open("rb") as file:
                # Pages beyond the end of a shortened file would kill the process (SIGBUS).
                if os.fstat(file.fileno()).st_size != self._size:
                    raise damaged(
                        self._path,
                        "changed its size since its header was read",
                        "Wait until the download has ended and start again",
                    )
                return MappedRange(file.fileno(), start, stop)
        except OSError as error:
            raise unreadable(self._path, error) from error

    def close(self) -> None:
        """Refuse further maps; arrays that are already out stay valid."""
        self._closed = True
