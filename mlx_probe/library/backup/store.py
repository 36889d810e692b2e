"""All chunks of an archive: which there are, reading one back, adding one."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mlx_probe.core.errors import ResultError

from .pack import PACK_SUFFIX, PackWriter, Place, compress, decompress, read_places
from .records import ArchiveDamage

__all__ = ["ChunkStore", "disk_error", "sync_folder"]

# Packs that are open at a time.
_OPEN = 16


class ChunkStore:
    """The chunks in a folder of packs.

    There is no other index than the lists in the packs: nothing can disagree with them.

    Args:
        folder: The packs.

    Attributes:
        unreadable: Packs whose list of chunks cannot be read, with the reason.
        added: Bytes that `add` wrote, or will.
        written: New packs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: dict[Path, str] = {}
        self.added = 0
        self.written: list[Path] = []
        self._places: dict[bytes, Place] = {}
        self._waiting: set[bytes] = set()
        self._pack = PackWriter()
        self._files: OrderedDict[Path, int] = OrderedDict()
        self._touched: set[Path] = set()
        for path in self.packs():
            try:
                self._places.update(read_places(path))
            except (OSError, ValueError) as error:
                self.unreadable[path] = str(error)

    def packs(self) -> list[Path]:
        """All packs, by name."""
        return sorted(self.folder.glob(f"??/*{PACK_SUFFIX}"))

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places or digest in self._waiting

    def place(self, digest: bytes) -> Place | None:
        """Where a chunk is; None if it is in no pack."""
        return self._places.get(digest)

    def read(self, digest: bytes) -> bytes:
        """A chunk, checked.

        Raises:
            ArchiveDamage: It is missing, or its pack is damaged.
        """
        place = self._places.get(digest)
        if place is None:
            raise ArchiveDamage(
                f"chunk {digest.hex()[:16]} is in no readable pack of {self.folder}",
                "Run `mlx-probe backup verify`; it names the pack",
            )
        try:
            data = os.pread(self._descriptor(place.pack), place.stored, place.offset)
            content = decompress(place.codec, data, place.length)
        except (OSError, ValueError) as error:
            raise _damaged(place.pack, error) from error
        if len(content) != place.length or hashlib.sha256(content).digest() != digest:
            raise _damaged(place.pack, "a chunk is not what was written")
        return content

    def add(self, digest: bytes, codec: int, data: bytes, length: int) -> None:
        """Add a chunk as `compress` made it, unless it is there.

        Raises:
            ResultError: The disk refused.
        """
        if digest in self:
            return
        self._pack.add(digest, codec, data, length)
        self._waiting.add(digest)
        self.added += len(data)
        if self._pack.is_full:
            self._write()

    def add_plain(self, data: bytes) -> str:
        """Add a chunk; returns its hash.

        Raises:
            ResultError: The disk refused.
        """
        digest = hashlib.sha256(data).digest()
        if digest not in self:
            self.add(digest, *compress(data), len(data))
        return digest.hex()

    def rewrite(self, digests: Iterable[bytes]) -> set[Path]:
        """Write chunks into new packs, checked; returns the packs.

        Raises:
            ArchiveDamage: One of them is damaged.
            ResultError: The disk refused.
        """
        for digest in digests:
            data = self.read(digest)
            self._pack.add(digest, *compress(data), len(data))
            if self._pack.is_full:
                self._write()
        self.flush()
        return {*self.written}

    def flush(self) -> None:
        """Have everything that was added on the disk.

        Raises:
            ResultError: The disk refused.
        """
        if self._pack.count:
            self._write()
        for folder in (*self._touched, self.folder):
            sync_folder(folder)
        self._touched.clear()

    def _write(self) -> None:
        try:
            path = self._pack.write(self.folder)
        except OSError as error:
            raise disk_error(self.folder, error) from error
        self._touched.add(path.parent)
        self.written.append(path)
        self._places.update(read_places(path))
        self._waiting.clear()
        self._pack = PackWriter()

    def _descriptor(self, path: Path) -> int:
        if path in self._files:
            self._files.move_to_end(path)
        else:
            if len(self._files) >= _OPEN:
                os.close(self._files.popitem(last=False)[1])
            self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._files[path]

    def close(self) -> None:
        """Close the packs that are open."""
        while self._files:
            os.close(self._files.popitem()[1])


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def disk_error(path: Path, error: OSError) -> ResultError:
    """The failure to write into an archive: what is there stays sound."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ResultError(
        f"cannot write {path}: {reason}",
        "The archive is sound as it is; free space there with `mlx-probe backup prune`, or check "
        "the disk, and run the command again",
    )


def _damaged(pack: Path, why: object) -> ArchiveDamage:
    return ArchiveDamage(
        f"{pack} is damaged: {why}",
        "Run `mlx-probe backup verify` for all that is; --skip-damaged restores the rest",
    )
