"""Weight files that are read where they are, range by range, and never downloaded.

Not through huggingface_hub's file system: from a server that ignores ranges it would take the
whole file as the answer.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from mlx_probe.core.errors import SourceError
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.http_range import LostError, OtherPartError, asked
from mlx_probe.source.transfer.request import Address
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["HEAD", "RemoteFile", "RemoteOpener", "RemoteShard"]

# The first request asks for so many bytes, even if fewer are wanted: most headers are shorter.
HEAD = 1 << 16
# Requests for one range, each going on where the one before it ended.
_TRIES = 5


@dataclass(frozen=True)
class RemoteShard:
    """A weight file that is not on this disk.

    Attributes:
        title: Its name for messages.
        file: What the publisher says of it; the first answer adds its size.
        address: Its address.
    """

    title: str
    file: PublishedFile
    address: Address


class RemoteOpener:
    """Opens a model's weight files on their servers, from any thread, and counts what is read.

    Args:
        shards: The remote file of each of `ModelFiles.weights`.
        explained: Turns `LostError`, `RefusedError` and what huggingface_hub raises into errors
            with a remedy.
        retry: When to give up on a server.

    Attributes:
        fetched: Bytes of weight files that have come over the network.
    """

    def __init__(
        self,
        shards: Mapping[Path, RemoteShard],
        explained: Callable[[], AbstractContextManager[None]],
        retry: RetryPolicy | None = None,
    ) -> None:
        self.fetched = 0
        self._shards = dict(shards)
        self._explained = explained
        self._retry = retry or RetryPolicy()
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> BinaryIO:
        """Open one of the weight files.

        Raises:
            SourceError: As for reading: access denied, no connection, or a server that does
                not serve ranges.
        """
        if not self._shards[path].file.size:
            # Mirrors of the Hub may leave sizes out; every answer has the size.
            self.read(path, 0, HEAD)
        return cast(BinaryIO, RemoteFile(self, path, self.sizes[path]))

    @property
    def sizes(self) -> dict[Path, int]:
        """Bytes of each weight file; 0 while the size is unknown."""
        return {path: shard.file.size or 0 for path, shard in self._shards.items()}

    def read(self, path: Path, first: int, last: int) -> bytes:
        """Bytes ``first`` to ``last`` (exclusive) of a weight file, fewer where it ends.

        Raises:
            SourceError: Access denied, no connection, or a server that does not serve ranges.
        """
        data = bytearray()
        lost: LostError | None = None
        with self._explained():
            for tried in range(1, _TRIES + 1):
                before = len(data)
                try:
                    lost = None
                    self._ask(path, first, last, data)
                except OtherPartError as error:
                    raise self._no_ranges(path, str(error)) from error
                except LostError as error:
                    lost = error
                last = min(last, self._shards[path].file.size or last)
                if first + len(data) == last:
                    return bytes(data)
                if len(data) == before and tried < _TRIES:
                    self._retry.sleep(self._retry.wait(tried, lost.asked if lost else None))
            if lost is not None:
                raise lost
        raise SourceError(
            f"{self._shards[path].title}: {len(data)} bytes came of {last - first}",
            "Run the same command again",
        )

    def _ask(self, path: Path, first: int, last: int, data: bytearray) -> None:
        """Append the missing bytes of a range, as many as arrive."""
        shard, start = self._shards[path], first + len(data)
        with asked(shard.file, shard.address, start, last, self._retry.timeout) as answer:
            if not answer.size:
                raise self._no_ranges(path, "it does not say the size of the file")
            # A whole file is right if it was asked for; otherwise it is far too much.
            if answer.start != start or (answer.whole and (start, last) != (0, answer.size)):
                raise self._no_ranges(path, "it sends the whole file")
            with self._lock:
                self._shards[path] = replace(shard, file=replace(shard.file, size=answer.size))
            for piece in answer.pieces:
                with self._lock:
                    self.fetched += len(piece)
                data += piece
                if first + len(data) > last:
                    raise self._no_ranges(path, "it sends more than was asked for")

    def _no_ranges(self, path: Path, problem: str) -> SourceError:
        return SourceError(
            f"{self._shards[path].title}: the server does not send the range that was asked for: "
            f"{problem}",
            "Drop --remote to download the model, or check HF_ENDPOINT and the proxy",
        )


class RemoteFile(io.BufferedIOBase):
    """A file on a server, open for reading.

    Only the head is read ahead. Beyond the head, each call is one request for exactly the bytes
    that it wants: readers of headers know best how far to read ahead in their formats.

    Args:
        opener: Fetches the bytes.
        path: The file: one of the opener's ``shards``.
        size: Its bytes.
    """

    def __init__(self, opener: RemoteOpener, path: Path, size: int) -> None:
        self._opener, self._path, self._size = opener, path, size
        self._position = 0
        self._head = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always, at no cost."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, beyond the end too; see `io.IOBase.seek`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(f"{self._path}: seek to {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read ``size`` bytes, or to the end; fewer only where the file ends.

        Raises:
            SourceError: See `RemoteOpener.read`.
            ValueError: The file is closed.
        """
        if self.closed:
            raise ValueError(f"{self._path}: read after close")
        first = self._position
        last = self._size if size is None or size < 0 else min(first + size, self._size)
        if first >= last:
            return b""
        if first < HEAD and not self._head:
            self._head = self._opener.read(self._path, 0, min(HEAD, self._size))
        data = self._head[first:last]
        if first + len(data) < last:
            data += self._opener.read(self._path, first + len(data), last)
        self._position = last
        return data
