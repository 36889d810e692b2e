"""Bytes of a weight file, mapped into memory range by range."""

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

# Bytes of a range that is read and not mapped. The system reads that much ahead by itself.
SMALL = 1 << 12


class MappedRange:
    """A read-only range of a file; it is unmapped with the last array that uses it.

    A few bytes are read instead: mapping them takes longer.

    Attributes:
        data: uint8, shape (bytes,), not writable.
    """

    def __init__(self, fileno: int, start: int, stop: int) -> None:
        self._map: mmap.mmap | None = None
        if stop - start <= SMALL:
            self.data = np.frombuffer(os.pread(fileno, stop - start, start), np.uint8)
            if self.data.size != stop - start:
                raise ValueError("the file ends before the range")
            return
        lead = start % mmap.ALLOCATIONGRANULARITY
        self._map = mmap.mmap(
            fileno, stop - start + lead, access=mmap.ACCESS_READ, offset=start - lead
        )
        whole = np.frombuffer(self._map, np.uint8)
        self._base = whole.ctypes.data
        self.data = whole[lead:]

    def will_need(self) -> None:
        """Advise the system to read the pages into its cache."""
        if self._map is not None and hasattr(mmap, "MADV_WILLNEED"):
            with suppress(OSError):  # only advice: some file systems do not support it
                self._map.madvise(mmap.MADV_WILLNEED)

    def release(self, part: NDArray[Any]) -> None:
        """Return the pages of a contiguous piece of ``data`` to the system.

        They stay readable, from the page cache or the disk. Without this, everything that was
        streamed would count as memory of this process.
        """
        if self._map is None:
            return
        start = part.ctypes.data - self._base
        # Whole pages only: the pages at both ends also hold bytes of the neighbours.
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (start + part.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last and hasattr(mmap, "MADV_DONTNEED"):
            with suppress(OSError):  # only advice: some file systems do not support it
                self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


class MappedFile:
    """A weight file of which only the ranges that are being read are mapped.

    It keeps no map and no file descriptor open: a map of every shard would take a descriptor
    each, macOS allows 256 by default, and large models have that many shards. Threads share
    only this object.

    Args:
        path: The file.
        size: Its size in bytes when the header was read.

    Attributes:
        size: The same number.
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
            # Not by `open`, which makes a buffer and asks the system four more questions.
            fileno = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # Reading beyond the end of a shortened file would kill the process (SIGBUS).
                if os.fstat(fileno).st_size != self.size:
                    raise self._resized()
                return MappedRange(fileno, start, stop)
            finally:
                os.close(fileno)
        except OSError as error:
            raise unreadable(self._path, error) from error
        except ValueError as error:
            # Shortened after the check: mmap refuses ranges beyond the end.
            raise self._resized() from error

    def _resized(self) -> CheckpointError:
        return damaged(
            self._path,
            "changed its size since its header was read",
            "Wait until the download has ended and start again",
        )

    def prefetch(self, start: int, stop: int) -> None:
        """Ask the system to read bytes ``start`` to ``stop`` before they are used.

        Errors are not raised here but when the bytes are mapped to be read.
        """
        if stop - start > SMALL:
            with suppress(CheckpointError):
                self.map(start, stop).will_need()

    def inflate(self, start: int, stop: int, size: int) -> MappedRange:
        """Inflate bytes ``start`` to ``stop`` into ``size`` bytes of a nameless temporary file.

        On disk and not in memory, so that pages can be released after reading (`release`). The
        last result is kept, since all matrices of a stack come from the same bytes.

        Raises:
            CheckpointError: As for `map`; or the bytes inflate to another size, or the temporary
                folder is full.
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
        """Refuse further maps; existing arrays stay valid."""
        self._closed = True
