"""Hashes of files, valid until the files change."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.files import sha256_of
from mlx_probe.library.catalog.database import Database

__all__ = ["FileIdentity", "hash_file", "identify", "keep_hash", "known_hashes", "sample"]

# Bytes of the beginning, the middle and the end of a file.
_SAMPLE = 1 << 16


@dataclass(frozen=True)
class FileIdentity:
    """A file at one moment; writing into the file changes its identity.

    Attributes:
        device: Number of the disk.
        inode: Number of the file on the disk; equal for all names of the file.
        size: Bytes.
        mtime_ns: When it was last written.
        ctime_ns: When it or its names last changed.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def is_unchanged_since(self, other: FileIdentity) -> bool:
        """Whether both are the same file with no write between them; names do not matter."""
        return (self.device, self.inode, self.size, self.mtime_ns) == (
            *(other.device, other.inode, other.size, other.mtime_ns),
        )


def identify(status: os.stat_result) -> FileIdentity:
    """The identity of a file from its status."""
    return FileIdentity(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def hash_file(
    path: Path, on_bytes: Callable[[int], None] = lambda count: None
) -> tuple[str, FileIdentity]:
    """SHA-256 of a file as 64 hex digits, and the identity of the file.

    Args:
        path: The file.
        on_bytes: Called with the number of bytes of each block that was read.

    Raises:
        OSError: The file cannot be read, or changed during the reading.
    """
    with path.open("rb", buffering=0) as file:
        before = identify(os.fstat(file.fileno()))
        sha256 = sha256_of(file, on_bytes)
        after = identify(os.fstat(file.fileno()))
    if not after.is_unchanged_since(before):
        raise OSError(errno.EBUSY, "it changed while it was read", str(path))
    return sha256, after


def sample(path: Path, size: int) -> bytes:
    """A digest of the beginning, middle and end of a file: equal for equal files.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        for start in (0, (size - _SAMPLE) // 2, size - _SAMPLE):
            file.seek(max(0, start))
            digest.update(file.read(_SAMPLE))
    return digest.digest()


def keep_hash(
    database: Database, paths: Iterable[Path], sha256: str, identity: FileIdentity
) -> None:
    """Save the hash of a file, and set it for the models that name the file by ``paths``."""
    with database.writing():
        database.run(
            "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?)",
            [
                *(_signed(identity.device), _signed(identity.inode), identity.size),
                *(identity.mtime_ns, identity.ctime_ns, sha256),
            ],
        )
        for path in paths:
            database.run(
                "UPDATE files SET sha256 = ? WHERE path = ? AND size = ? AND mtime_ns = ?",
                [sha256, os.fsencode(path), identity.size, identity.mtime_ns],
            )


def known_hashes(database: Database) -> dict[FileIdentity, str]:
    """The hashes that were saved, by the identities of the files at that time."""
    return {
        FileIdentity(
            *(row["device"] % 2**64, row["inode"] % 2**64),
            *(row["size"], row["mtime_ns"], row["ctime_ns"]),
        ): row["sha256"]
        for row in database.rows("SELECT * FROM hashes")
    }


def _signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite's signed one; network file systems use all bits."""
    return number - 2**64 if number >= 2**63 else number
