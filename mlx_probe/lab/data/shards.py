"""Writing tokens to files of a fixed number of tokens, so that a killed process loses nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from mlx_probe.core.files import sha256_file, write_all
from mlx_probe.lab.data.manifest import Shard, SplitName

__all__ = ["ShardWriter"]


class ShardWriter:
    """Appends tokens of a split to `SPLIT-00000.bin`, `SPLIT-00001.bin` ...

    Each file but the last one has `shard_tokens` tokens: documents go on in the next file.

    Args:
        folder: Where they go.
        split: The split.
        width: Bytes of a token.
        shard_tokens: Tokens of a full file.
        done: Tokens that are there already; what follows them is cut off.

    Attributes:
        width: Bytes of a token.
        tokens: Tokens that were appended, those of earlier processes included.

    Raises:
        OSError: The disk refused.
    """

    def __init__(
        self, folder: Path, split: SplitName, width: int, shard_tokens: int, done: int = 0
    ) -> None:
        self._folder, self._split, self.width = folder, split, width
        self._shard_bytes = shard_tokens * width
        self.tokens = done
        for path in sorted(folder.glob(f"{split}-*.bin")):
            if int(path.stem.rpartition("-")[2]) > self._end // self._shard_bytes:
                path.unlink()
        self._file = self._opened()
        self._file.truncate(self._end % self._shard_bytes)

    def append(self, data: bytes | memoryview) -> None:
        """Append tokens, little-endian.

        Raises:
            OSError: The disk refused; call no other method but `close` then.
        """
        rest = memoryview(data)
        while rest:
            room = self._shard_bytes - self._end % self._shard_bytes
            piece = rest[:room]
            write_all(self._file, piece)
            self.tokens += len(piece) // self.width
            rest = rest[room:]
            if len(piece) == room:
                self.flush()
                self._file.close()
                self._file = self._opened()

    def flush(self) -> None:
        """Return when all tokens are on the disk.

        Raises:
            OSError: The disk refused.
        """
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; what it has stays."""
        self._file.close()

    def finish(self, on_bytes: Callable[[int], None]) -> tuple[Shard, ...]:
        """Hash the files; `flush` comes before.

        Args:
            on_bytes: Called with the length of each piece that was hashed.

        Raises:
            OSError: The disk refused.
        """
        self.close()
        full, rest = divmod(self._end, self._shard_bytes)
        if not rest and full:
            # A file that was opened behind a full one.
            (self._folder / self._name(self._end)).unlink()
        sizes = [self._shard_bytes] * full + [rest] * (rest > 0 or not full)
        shards = []
        for number, size in enumerate(sizes):
            name = f"{self._split}-{number:05d}.bin"
            digest = sha256_file(self._folder / name, on_bytes)
            shards.append(Shard(name, size // self.width, digest))
        return tuple(shards)

    @property
    def _end(self) -> int:
        return self.tokens * self.width

    def _name(self, end: int) -> str:
        return f"{self._split}-{end // self._shard_bytes:05d}.bin"

    def _opened(self) -> IO[bytes]:
        return (self._folder / self._name(self._end)).open("ab", buffering=0)
