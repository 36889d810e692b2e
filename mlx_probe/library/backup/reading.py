"""One file into chunks: holes and zeros cost nothing, a change while it is read is noticed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from .pack import CHUNK, compress
from .store import ChunkStore

__all__ = ["ChangedWhileRead", "FileReader"]

_ZEROS = bytes(CHUNK)
_TRIES = 3
_WORKERS = min(4, os.cpu_count() or 1)

Prepared = tuple[bytes, int, bytes, int]


class ChangedWhileRead(Exception):  # noqa: N818  what was read is kept
    """A file changed each time that it was read.

    Attributes:
        result: What was read the last time.
    """

    def __init__(self, result: tuple[int, str, tuple[str | int, ...]]) -> None:
        super().__init__("it changed while it was read")
        self.result = result


class FileReader:
    """Reads files into a store.

    Args:
        store: Takes the chunks.
        on_bytes: Called with bytes that were read.
    """

    def __init__(self, store: ChunkStore, on_bytes: Callable[[int], None]) -> None:
        self._store, self._on_bytes = store, on_bytes
        self._pool = ThreadPoolExecutor(_WORKERS)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def read(self, path: str) -> tuple[os.stat_result, int, str, tuple[str | int, ...]]:
        """Read a file.

        Returns:
            Its status, and size, hash and chunks of what was read.

        Raises:
            OSError: It cannot be read.
            ChangedWhileRead: It changes; what was read is in the store.
            ResultError: The archive's disk refused.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        for _ in range(_TRIES):
            descriptor = os.open(path, flags)
            try:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    raise OSError("it is no file any more")
                result = self._content(descriptor, before)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if result[0] == after.st_size and _stamp(before) == _stamp(after):
                return (after, *result)
        raise ChangedWhileRead(result)

    def _content(
        self, descriptor: int, status: os.stat_result
    ) -> tuple[int, str, tuple[str | int, ...]]:
        if status.st_size <= CHUNK:
            data = _read_at(descriptor, 0, CHUNK)
            self._on_bytes(len(data))
            if data and data == _ZEROS[: len(data)]:
                return len(data), hashlib.sha256(data).hexdigest(), (1,)
            if not data:
                return 0, hashlib.sha256().hexdigest(), ()
            return len(data), self._store.add_plain(data), ()
        whole, chunks, size = hashlib.sha256(), list[str | int](), 0
        waiting: deque[Future[Prepared] | None] = deque()

        def settle() -> None:
            future = waiting.popleft()
            if future is not None:
                prepared = future.result()
                self._store.add(*prepared)
                chunks.append(prepared[0].hex())
            elif chunks and isinstance(chunks[-1], int):
                chunks[-1] += 1
            else:
                chunks.append(1)

        for data in _blocks(descriptor, status):
            size += len(data)
            is_zero = data == _ZEROS[: len(data)]
            waiting.append(None if is_zero else self._pool.submit(self._prepare, data))
            whole.update(data)
            self._on_bytes(len(data))
            if len(waiting) > 2 * _WORKERS:
                settle()
        while waiting:
            settle()
        return size, whole.hexdigest(), tuple(chunks)

    def _prepare(self, data: bytes) -> Prepared:
        digest = hashlib.sha256(data).digest()
        codec, packed = (0, b"") if digest in self._store else compress(data)
        return digest, codec, packed, len(data)


def _blocks(descriptor: int, status: os.stat_result) -> Iterator[bytes]:
    """A file's chunks; those that are holes are not read."""
    size = status.st_size
    has_holes = status.st_blocks * 512 < size
    data_at = 0
    for begin in range(0, size, CHUNK):
        length = min(CHUNK, size - begin)
        if has_holes and data_at <= begin:
            data_at = _next_data(descriptor, begin, size)
        if data_at >= begin + length:
            yield _ZEROS[:length]
            continue
        data = _read_at(descriptor, begin, length)
        if data:
            yield data
        if len(data) < length:
            return


def _next_data(descriptor: int, begin: int, size: int) -> int:
    if not hasattr(os, "SEEK_DATA"):
        return begin
    try:
        return os.lseek(descriptor, begin, os.SEEK_DATA)
    except OSError:
        # None until the end, or a disk that knows no holes: only the first may skip something.
        try:
            is_hole = os.lseek(descriptor, begin, os.SEEK_HOLE) == begin
        except OSError:
            return begin
        return size if is_hole else begin


def _read_at(descriptor: int, begin: int, length: int) -> bytes:
    data = os.pread(descriptor, length, begin)
    while len(data) < length and (
        more := os.pread(descriptor, length - len(data), begin + len(data))
    ):
        data += more
    return data


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
