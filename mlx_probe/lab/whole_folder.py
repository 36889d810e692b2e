"""A folder that is there as a whole, or as it was before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["whole_folder"]


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Lets a caller write a folder so that readers see the old one or the whole new one.

    An error leaves the old folder as it was. A process that is killed between the two renamings
    at the end leaves the old folder aside, and the next call puts it back first.

    Args:
        folder: The folder to write.

    Yields:
        An empty folder beside it, which takes its name at the end.

    Raises:
        OSError: The disk refused.
    """
    new, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    if old.exists() and not folder.exists():
        old.replace(folder)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        for path in (*new.rglob("*"), new):
            _flush(path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    """Make what is written survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
