"""Bytes of a weight file as memory, mapped range by range."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import CheckpointError, damaged, unreadable

__all__ = ["MappedFile", "MappedRange"]

# Bytes inflated at a time.
_PIECE = 1 << 20


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

    def will_need(self) -> None:
        """Advise the system to bring the pages into its cache."""
        if hasattr(mmap, "MADV_WILLNEED"):
            with suppress(OSError):  # advice: some file systems take none
                self._map.madvise(mmap.MADV_WILLNEED)

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

    Attributes:
        size: The same.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self.size = path, size
        self._closed = False
        self._lock = threading.Lock()
        self._inflated: tuple[tuple[int, int], MappedRange] | None = None

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
                if os.fstat(file.fileno()).st_size != self.size:
                    raise self._resized()
                return MappedRange(file.fileno(), start, stop)
        except OSError as error:
            raise unreadable(self._path, error) from error
        except ValueError as error:
            # Shortened after it was looked at: mmap refuses lengths beyond the end.
            raise self._resized() from error

    def _resized(self) -> CheckpointError:
        return damaged(
            self._path,
            "changed its size since its header was read",
            "Wait until the download has ended and start again",
        )

    def prefetch(self, start: int, stop: int) -> None:
        """Ask the system to read bytes ``start`` to ``stop`` ahead of their use.

        Whatever is wrong with them is told when they are mapped to be read.
        """
        if stop > start:
            with suppress(CheckpointError):
                self.map(start, stop).will_need()

    def inflate(self, start: int, stop: int, size: int) -> MappedRange:
        """Inflate bytes ``start`` to ``stop`` into ``size`` bytes of a nameless temporary file.

        On disk and not in memory, so that what was read can be given back (`release`); the
        last one is kept, since the matrices of a stack come from the same bytes in turn.

        Raises:
            CheckpointError: As for `map`; or they inflate to another number of bytes, or the
                temporary folder is full.
        """
        with self._lock:
            if self._inflated is None or self._inflated[0] != (start, stop):
                deflated = self.map(start, stop)
                self._inflated = (start, stop), self._inflate_to_disk(deflated, size)
            return self._inflated[1]

    def _inflate_to_disk(self, deflated: MappedRange, size: int) -> MappedRange:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        wrong = damaged(self._path, f"deflated bytes that do not inflate to {size}")
        with tempfile.TemporaryFile() as file:
            try:
                if shutil.disk_usage(tempfile.gettempdir()).free < size:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                for first in range(0, deflated.data.size, _PIECE):
                    part = deflated.data[first : first + _PIECE]
                    pending = part.tobytes()
                    deflated.release(part)
                    while pending:
                        file.write(stream.decompress(pending, _PIECE))
                        if file.tell() > size:
                            raise wrong
                        pending = stream.unconsumed_tail
                file.write(stream.flush())
            except zlib.error as error:
                raise damaged(self._path, f"cannot be inflated: {error}") from error
            except OSError as error:
                raise CheckpointError(
                    f"{self._path}: cannot inflate {size} bytes into {tempfile.gettempdir()}: "
                    f"{error.strerror}",
                    "Free space there, or set TMPDIR to another folder",
                ) from error
            if file.tell() != size or not stream.eof:
                raise wrong
            file.flush()
            return MappedRange(file.fileno(), 0, size)

    def close(self) -> None:
        """Refuse further maps; arrays that are already out stay valid."""
        self._closed = True
