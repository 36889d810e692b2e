"""What restic does not do before a backup: count, and find the weights that are not stored."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .config import BackupConfig, Progress
from .create import is_same
from .records import Entry, LeftOut, Totals
from .walk import Roots, Seen, walk
from .weights import WeightFiles

__all__ = ["Found", "look"]


@dataclass
class Found:
    """What there is to back up.

    Attributes:
        files: Number of files that are stored.
        size: Their bytes.
        weights: Those that are not.
        left_out: What cannot be.
    """

    files: int
    size: int
    weights: list[Entry]
    left_out: list[LeftOut]

    def totals(self) -> Totals:
        """As a snapshot has them."""
        size = sum(each.size for each in self.weights)
        return Totals(self.files, self.size, len(self.weights), size)


def look(
    roots: Roots,
    repo: Path,
    config: BackupConfig,
    known: Callable[[], Mapping[str, Entry]],
    progress: Progress,
) -> Found:
    """Count, and find the weights that are not stored."""
    found = Found(0, 0, [], [])
    files = WeightFiles(config, progress.on_bytes)
    inodes = set[tuple[int, int]]()
    before: Mapping[str, Entry] | None = None
    for seen in walk(roots, repo):
        if isinstance(seen, LeftOut):
            found.left_out.append(seen)
            continue
        status = seen.status
        if stat.S_ISSOCK(status.st_mode):
            why = "a socket or a device, which has no content"
            found.left_out.append(LeftOut(seen.path, why, is_lost=False))
        if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in inodes:
            continue
        inodes.add((status.st_dev, status.st_ino))
        if not config.include_weights and files.is_reference(seen):
            before = known() if before is None else before
            found.weights.append(_reference(files, seen, before.get(seen.path)))
            continue
        found.files, found.size = found.files + 1, found.size + status.st_size
    return found


def _reference(files: WeightFiles, seen: Seen, before: Entry | None) -> Entry:
    status = seen.status
    plain = Entry(
        *(seen.name, "weights", stat.S_IMODE(status.st_mode), status.st_mtime_ns),
        *(status.st_uid, status.st_gid, status.st_size),
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )
    known = before if before is not None and is_same(before, status) else None
    return files.entry(seen, plain, known)
