"""The folder that a snapshot is restored into: whole at the end, or not there."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_error

from .store import sync_folder

__all__ = ["restoring"]

_MARK = ".restoring-"


@contextmanager
def restoring(out: Path, snapshot: str) -> Iterator[Path]:
    """A hidden folder beside ``out`` that becomes ``out`` at the end.

    After a failure it stays, and the next attempt gets the same one.

    Args:
        out: A new or an empty folder.
        snapshot: The id: another snapshot gets another folder.

    Raises:
        ConfigError: ``out`` is neither.
        ResultError: Another process restores into it, or the disk refused.
    """
    # Links above it are fine; it may not be one.
    out = out.absolute()
    _check(out)
    folder = out.parent / f".{out.name}{_MARK}{snapshot[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        _lock(descriptor, out)
        try:
            yield folder
            # Everything on the disk before the folder has its name.
            os.sync()
            _check(out)
            folder.rename(out)
        except OSError as error:
            raise _failure(out, error) from error
        sync_folder(out.parent)
    finally:
        os.close(descriptor)
    # What killed restores of other snapshots left.
    for other in out.parent.glob(f".{_escaped(out.name)}{_MARK}*"):
        shutil.rmtree(other, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _check(out: Path) -> None:
    try:
        if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            raise ConfigError(
                f"{out} is there already, and not an empty folder",
                "Choose a new folder with --out",
            )
        if out.exists() and out.stat().st_dev != out.parent.stat().st_dev:
            raise ConfigError(
                f"{out} is a disk of its own", f"Choose a folder on it: --out {out / 'restored'}"
            )
    except OSError as error:
        raise write_error(out, error) from error


def _lock(descriptor: int, out: Path) -> None:
    with suppress(OSError):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResultError(
                f"another mlx-probe restores into {out}", "Wait until it has ended"
            ) from error


def _failure(out: Path, error: OSError) -> ResultError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResultError(
            f"cannot write {error.filename or out}: {os.strerror(error.errno)}",
            "Free space on that disk and run the same command again: it goes on where it was",
        )
    return write_error(Path(os.fsdecode(error.filename or out)), error)
