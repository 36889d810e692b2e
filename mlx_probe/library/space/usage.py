"""Bytes of files and folders on the disk, where several names of one file count once."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "usage"]

# Of `st_blocks`, whatever the file system's own blocks are.
_BLOCK = 512


@dataclass(frozen=True)
class Usage:
    """What some paths take.

    Attributes:
        files: Number of files.
        size: Bytes of their contents.
        disk: Bytes of the disk, of folders and links too.
        outside: Files that have further names elsewhere: deleting these paths does not free them.
    """

    files: int
    size: int
    disk: int
    outside: tuple[Path, ...]


def usage(paths: Iterable[Path], on_error: Callable[[OSError], None] | None = None) -> Usage:
    """What files and folders take; links are not followed.

    Args:
        paths: No one lies in another.
        on_error: Called with what cannot be read; None to raise it.

    Raises:
        OSError: Something cannot be read.
    """
    known: dict[tuple[int, int], tuple[Path, os.stat_result]] = {}
    names: Counter[tuple[int, int]] = Counter()
    for path in paths:
        for each, status in _all(path, on_error):
            inode = (status.st_dev, status.st_ino)
            known.setdefault(inode, (each, status))
            names[inode] += 1
    regular = {i: pair for i, pair in known.items() if not stat.S_ISDIR(pair[1].st_mode)}
    return Usage(
        files=len(regular),
        size=sum(s.st_size for _, s in regular.values() if stat.S_ISREG(s.st_mode)),
        disk=sum(_BLOCK * status.st_blocks for _, status in known.values()),
        outside=tuple(path for i, (path, status) in regular.items() if status.st_nlink > names[i]),
    )


def _all(
    path: Path, on_error: Callable[[OSError], None] | None
) -> Iterator[tuple[Path, os.stat_result]]:
    waiting = [path]
    while waiting:
        current = waiting.pop()
        try:
            status = current.lstat()
            if stat.S_ISDIR(status.st_mode):
                waiting += sorted(current.iterdir(), reverse=True)
        except OSError as error:
            if on_error is None:
                raise
            on_error(error)
        else:
            yield current, status
