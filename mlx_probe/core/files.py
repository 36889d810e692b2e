"""Files on disks that fill up and processes that are killed: replace, hash, append lines."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from mlx_probe.core.errors import ResultError

__all__ = [
    "LineWriter",
    "atomic_replace",
    "read_blocks",
    "replacing",
    "sha256_file",
    "sha256_of",
    "whole_lines",
    "write_all",
    "write_error",
    "write_text",
]

# Bytes that are held in memory while a file is read to its end.
BLOCK = 1 << 20

_REMEDIES = {
    errno.ENOSPC: "Free space on that disk, or choose another path with --out",
    errno.EDQUOT: "Free space in your quota, or choose another path with --out",
    errno.EROFS: "Choose a path on a writable disk with --out",
    errno.EACCES: "Give yourself write permission there, or choose another path with --out",
    errno.EPERM: "Give yourself write permission there, or choose another path with --out",
    errno.ENOTDIR: "Choose a path with --out whose parents are all folders",
    errno.EEXIST: "Move that file away, or choose another path with --out",
    errno.ENAMETOOLONG: "Choose a shorter path with --out",
    errno.EIO: "Check the disk, or choose another path with --out",
}


def write_error(path: Path, error: OSError) -> ResultError:
    """The failure to write ``path``, with a remedy that fits the cause."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "Choose another path with --out")
    return ResultError(f"cannot write {path}: {reason}", remedy)


@contextmanager
def atomic_replace(path: Path, scratch: Path | None = None, flush: bool = True) -> Iterator[Path]:
    """Lets a caller write ``path`` so that readers see the old file or the whole new one.

    Args:
        path: The file to write. A link of that name is replaced, not followed.
        scratch: A folder on the same disk. The temporary file lies there, in a new folder of
            its own: no other process uses it, and nobody can have put a link in its way. With
            None it lies beside ``path`` under a name that is always the same, so that the next
            attempt removes what a killed process left behind.
        flush: Whether the content is on the disk before it gets its name. Without it a power
            cut may leave an empty file.

    Yields:
        A path for the caller to make a file or link at. On success it is renamed to ``path``;
        on failure it is removed and ``path`` stays as it was.

    Raises:
        OSError: The disk refused.
    """
    if scratch is not None:
        with TemporaryDirectory(prefix=".mlx-probe-", dir=scratch) as folder:
            yield from _write_and_rename(Path(folder, "new"), path, flush)
        return
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield from _write_and_rename(temporary, path, flush)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _write_and_rename(temporary: Path, path: Path, flush: bool) -> Iterator[Path]:
    yield temporary
    if flush:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`atomic_replace` for a file that the user asked for: flushed, beside its path.

    Raises:
        ResultError: The disk refused.
    """
    try:
        with atomic_replace(path) as temporary:
            yield temporary
    except OSError as error:
        raise write_error(path, error) from error


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Writes a text file that the user asked for, in UTF-8, and the folders that it lies in.

    Args:
        path: The file; replaced atomically.
        text: Its content.
        errors: What to do with characters that UTF-8 does not have; see `str.encode`.

    Raises:
        ResultError: The disk refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path.parent, error) from error
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)


def read_blocks(
    file: IO[bytes], on_bytes: Callable[[int], None] = lambda count: None
) -> Iterator[memoryview]:
    """The rest of a file in blocks of at most `BLOCK` bytes, all in the same memory.

    Args:
        file: Open for reading.
        on_bytes: Called with the length of each block once the caller has dealt with it; may
            raise.

    Yields:
        A block; it is valid until the next one is asked for.

    Raises:
        OSError: It cannot be read.
    """
    block = memoryview(bytearray(BLOCK))
    while count := file.readinto(block):  # type: ignore[attr-defined]  # every binary file has it
        yield block[:count]
        on_bytes(count)


def sha256_of(file: IO[bytes], on_bytes: Callable[[int], None] = lambda count: None) -> str:
    """SHA-256 of the rest of an open file, as 64 hex digits; see `read_blocks`."""
    digest = hashlib.sha256()
    for block in read_blocks(file, on_bytes):
        digest.update(block)
    return digest.hexdigest()


def sha256_file(path: Path, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    """SHA-256 of a file's content, as 64 hex digits; see `read_blocks`."""
    with path.open("rb", buffering=0) as file:
        return sha256_of(file, on_bytes)


def write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    """Writes every byte to an unbuffered file, which may take only a part at a time.

    Raises:
        OSError: The disk refused; a part may be written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


class LineWriter:
    """Appends lines to a file, each of them whole or not at all.

    A line that a killed process or a power cut tore has no end: `whole_lines` does not give
    it, and the next writer cuts it off.

    Attributes:
        end: Bytes of the whole lines.
    """

    def __init__(self, file: IO[bytes], end: int) -> None:
        """Cut off what comes after the whole lines.

        Args:
            file: Open for appending, unbuffered; `close` closes it.
            end: Bytes of the whole lines that it has.

        Raises:
            OSError: The disk refused.
        """
        self._file, self.end = file, end
        os.ftruncate(file.fileno(), end)

    def append(self, *lines: str) -> list[int]:
        """Write lines of ASCII in one go; their ends are added.

        Returns:
            Where each begins, in bytes.

        Raises:
            OSError: The disk refused; the lines before are whole, and none of these is there.
        """
        data = [(line + "\n").encode("ascii") for line in lines]
        try:
            write_all(self._file, b"".join(data))
        except OSError:
            # A full disk may take a part of a line, which must not run into a later one.
            with suppress(OSError):
                os.ftruncate(self._file.fileno(), self.end)
            raise
        *begins, self.end = accumulate(map(len, data), initial=self.end)
        return begins

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()


def whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file line by line, without a last line that has no end.

    Args:
        file: Open for reading.

    Yields:
        Each line with its end.

    Raises:
        OSError: It cannot be read.
    """
    for line in file:
        # Nothing after it: another process may be writing the rest of it just now.
        if not line.endswith(b"\n"):
            return
        yield line
