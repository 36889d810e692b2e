"""Bounded little-endian reading of a header whose length is not stored."""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO

from mlx_probe.checkpoint.formats.header import MAX_HEADER
from mlx_probe.core.errors import CheckpointError, damaged

__all__ = ["Cursor"]

_READ_AHEAD = 1 << 20
_U32, _U64 = Struct("<I"), Struct("<Q")


class Cursor:
    """A position in the first `MAX_HEADER` bytes of a file, read as far as needed.

    Every method raises `CheckpointError` at the end of the file.

    Args:
        path: The file, for messages.
        file: That file, open for reading at its start.
        size: Its size in bytes.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.position = 0
        self._path, self._file, self._size = path, file, size
        self._limit = min(size, MAX_HEADER)
        self._buffer = bytearray()

    def advance(self, count: int) -> int:
        """Step over ``count`` bytes; returns their start in the file."""
        start, stop = self.position, self.position + count
        if stop > len(self._buffer):
            self._fill(stop)
        self.position = stop
        return start

    def scalar(self, form: Struct) -> Any:
        """Read one number."""
        start = self.advance(form.size)
        return form.unpack_from(self._buffer, start)[0]

    def u32(self) -> int:
        """Read an unsigned 32-bit integer."""
        return int(self.scalar(_U32))

    def u64(self) -> int:
        """Read an unsigned 64-bit integer."""
        return int(self.scalar(_U64))

    def string(self, errors: str = "strict") -> str:
        """Read a length and that many bytes of UTF-8; ``errors`` as in `bytes.decode`."""
        start = self.advance(self.u64())
        try:
            return self._buffer[start : self.position].decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise damaged(self._path, f"the name at byte {start} is not UTF-8") from error

    def skip_strings(self, count: int) -> None:
        """Step over ``count`` lengths, each with that many bytes: a tokenizer has 100,000."""
        length, position, end = _U64.unpack_from, self.position, len(self._buffer)
        for _ in range(count):
            text = position + _U64.size
            if text > end:
                self._fill(text)
                end = len(self._buffer)
            position = text + length(self._buffer, position)[0]
        self.advance(position - self.position)

    def count(self, least: int, what: str) -> int:
        """Read how many items follow, each of at least ``least`` bytes.

        A count that does not fit into the rest of the header is refused here, before anything
        loops over it or allocates for it.
        """
        count = self.u64()
        if count * least > self._limit - self.position:
            raise damaged(self._path, f"{count} {what} do not fit into a file of {self._size}")
        return count

    def _fill(self, stop: int) -> None:
        if stop <= self._limit:
            wanted = min(max(stop, len(self._buffer) + _READ_AHEAD), self._limit)
            self._buffer += self._file.read(wanted - len(self._buffer))
        if stop > len(self._buffer):
            raise self._overrun()

    def _overrun(self) -> CheckpointError:
        if self._size > MAX_HEADER:
            return damaged(self._path, f"the header is longer than {MAX_HEADER} bytes")
        return damaged(self._path, f"truncated inside the header, at byte {self._size}")
