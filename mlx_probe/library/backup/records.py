"""Records of backups: what is kept of a file, of a snapshot, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, get_args

from mlx_probe.core.errors import ResultError

__all__ = [
    "ArchiveDamage",
    "Created",
    "Damage",
    "Drill",
    "Entry",
    "EntryType",
    "LeftOut",
    "Pruning",
    "Restored",
    "Snapshot",
    "Totals",
    "Verification",
    "now",
]

EntryType = Literal["folder", "file", "hardlink", "symlink", "fifo", "weights"]


class ArchiveDamage(ResultError):  # noqa: N818  what verify lists
    """A file of an archive that is damaged, missing or hostile."""


def now() -> str:
    """This moment in UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Entry:
    """A file, folder or link as a snapshot has it.

    Attributes:
        path: Below the snapshot's base, with /; bytes that are no text are escaped as Python's
            ``surrogateescape`` does it.
        type: What it is; "weights" is a file that is known by its hash only.
        mode: Permissions.
        mtime_ns: When it was last written, nanoseconds.
        uid: Owner.
        gid: Group.
        size: Bytes of a file.
        sha256: Hash of a file's content, 64 hex digits.
        chunks: Hashes of a file's chunks in order; a number stands for so many chunks of zeros.
            Empty for one chunk, whose hash is that of the file.
        target: Where a symbolic link leads, or the path of the first name of a hard link.
        ctime_ns: When the file or its names last changed; with the inode, to know a file that
            need not be read again.
        inode: Number of the file on its disk.
        xattrs: Extended attributes, base64.
        origin: Where weights can be fetched: "model", "revision", "url"; empty if unknown.
    """

    path: str
    type: EntryType
    mode: int = 0
    mtime_ns: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    sha256: str = ""
    chunks: tuple[str | int, ...] = ()
    target: str = ""
    ctime_ns: int = 0
    inode: int = 0
    xattrs: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """As a manifest has it: without what is empty."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def read(cls, value: Any) -> Entry:
        """From a manifest, which anybody may have written.

        Raises:
            ValueError: It is not an entry.
        """
        if not isinstance(value, dict) or not value.keys() <= _KINDS.keys():
            raise ValueError("an entry with other fields")
        for name, each in value.items():
            if type(each) is not _KINDS[name]:
                raise ValueError(f"an entry whose {name} is of another type")
        entry = cls(**{**value, "chunks": tuple(value.get("chunks", ()))})
        hashes = [entry.sha256] if entry.sha256 else []
        for chunk in entry.chunks:
            if isinstance(chunk, str):
                hashes.append(chunk)
            elif not isinstance(chunk, int) or chunk < 1:
                raise ValueError("an entry with a chunk that is none")
        if any(len(each) != 64 or set(each) - _HEX for each in hashes):
            raise ValueError("an entry with a hash that is none")
        if entry.type not in get_args(EntryType) or not is_safe(entry.path) or entry.size < 0:
            raise ValueError(f"an entry of the path {entry.path!r}")
        return entry

    def chunk_hashes(self) -> Iterator[bytes]:
        """The chunks of a file that are in packs: all but zeros."""
        if self.type == "file" and self.size:
            for chunk in self.chunks or (self.sha256,):
                if isinstance(chunk, str):
                    yield bytes.fromhex(chunk)


_HEX = set("0123456789abcdef")
_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("path", "type", "sha256", "target"), str),
    **dict.fromkeys(("mode", "mtime_ns", "uid", "gid", "size", "ctime_ns", "inode"), int),
    **{"chunks": list, "xattrs": dict, "origin": dict},
}


def is_safe(path: str) -> bool:
    """Whether a path leads nowhere but below the folder that it is joined to."""
    parts = path.split("/")
    return "\0" not in path and not {"", ".", ".."} & set(parts)


@dataclass(frozen=True)
class LeftOut:
    """A file that a snapshot lacks, or has as it was in the middle of a change.

    Attributes:
        path: The file.
        why: What is the matter.
        is_lost: Whether content is missing; not so for sockets and devices, which have none.
    """

    path: str
    why: str
    is_lost: bool = True


@dataclass(frozen=True)
class Totals:
    """What a snapshot has.

    Attributes:
        files: Number of files, weights by reference and further names not counted.
        size: Their bytes.
        weights: Number of weight files that are known by their hash only.
        weight_bytes: Their bytes.
        left_out: Number of files that could not be read whole.
    """

    files: int = 0
    size: int = 0
    weights: int = 0
    weight_bytes: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class Snapshot:
    """A backup, as `list` shows it.

    Attributes:
        id: Its name in the archive.
        time: When it was begun, ISO 8601 in UTC.
        base: The folder that its paths are below.
        paths: What was backed up.
        totals: What it has; None if the archive does not say.
        program: Version of the program that made it.
    """

    id: str
    time: str
    base: str
    paths: tuple[str, ...]
    totals: Totals | None = None
    program: str = ""

    def describe(self) -> dict[str, Any]:
        """For --json."""
        totals = asdict(self.totals) if self.totals else dict.fromkeys(asdict(Totals()))
        return {
            "id": self.id,
            "time": self.time,
            "base": self.base,
            "paths": list(self.paths),
            **totals,
        }


@dataclass(frozen=True)
class Created:
    """The result of `create`.

    Attributes:
        snapshot: What was made.
        read: Files that were read; the others are as in an earlier snapshot.
        added: Bytes that the archive grew by.
        left_out: Files that are missing in it.
        weights: Weight files that are known by their hash only.
    """

    snapshot: Snapshot
    read: int
    added: int
    left_out: tuple[LeftOut, ...]
    weights: tuple[Entry, ...]


@dataclass(frozen=True)
class Restored:
    """The result of `restore`.

    Attributes:
        snapshot: What was restored.
        out: The folder.
        files: Number of files that were written and checked.
        size: Their bytes.
        lost: Files that the archive has no whole copy of.
        weights: Files that were known by their hash only.
    """

    snapshot: Snapshot
    out: Path
    files: int
    size: int
    lost: tuple[LeftOut, ...]
    weights: tuple[Entry, ...]


@dataclass(frozen=True)
class Damage:
    """A file of an archive that is not as it was written.

    Attributes:
        file: The file, below the archive's folder.
        why: What is the matter.
        concerns: Snapshots and paths that need what is lost, "ID: path"; the first ones.
        others: Number of further ones.
    """

    file: str
    why: str
    concerns: tuple[str, ...] = ()
    others: int = 0


@dataclass(frozen=True)
class Verification:
    """The result of `verify`.

    Attributes:
        damage: What is damaged; empty for a sound archive.
        notes: Files that do not belong there, or that no snapshot needs.
        snapshots: Number of snapshots.
        files: Number of files of the archive that were read.
        size: Their bytes.
    """

    damage: tuple[Damage, ...]
    notes: tuple[str, ...]
    snapshots: int
    files: int
    size: int


@dataclass(frozen=True)
class Pruning:
    """What `prune` removes, or removed.

    Attributes:
        kept: Snapshots that stay, each with the rules that keep it.
        removed: The others.
        freed: Bytes; None if the archive does not say beforehand.
    """

    kept: tuple[tuple[Snapshot, tuple[str, ...]], ...]
    removed: tuple[Snapshot, ...]
    freed: int | None


@dataclass(frozen=True)
class Drill:
    """The result of a drill.

    Attributes:
        time: When, ISO 8601 in UTC.
        seed: What chose the snapshot and the files.
        snapshot: Its id.
        files: Number of files that were restored, read back and compared with their hashes.
        size: Their bytes.
        same: Files that are on the disk as the snapshot has them, byte for byte.
        changed: Files that were written since, or are gone: nothing to compare with.
        failed: Files that could not be restored, or differ from what has not changed.
        report: Where this is kept.
    """

    time: str
    seed: int
    snapshot: str
    files: int
    size: int
    same: int
    changed: int
    failed: tuple[LeftOut, ...]
    report: Path
