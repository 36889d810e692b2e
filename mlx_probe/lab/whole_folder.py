"""A folder that is there as a whole, or as it was before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_probe.core.errors import ResultError

__all__ = ["require_empty", "whole_folder"]


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


def require_empty(folder: Path, mark: str | None = None) -> None:
    """Refuse a folder with content that would be lost.

    Args:
        folder: The folder to write; need not exist.
        mark: A file by which we know what we wrote before, and may replace.

    Raises:
        ResultError: It is a file, or holds something.
    """
    if folder.is_file():
        raise ResultError(f"{folder} is a file", "Name a folder with --out")
    if folder.is_dir() and any(folder.iterdir()) and not (mark and (folder / mark).is_file()):
        raise ResultError(f"the folder {folder} is not empty", "Choose another folder with --out")
