"""A lock: one process at a time replaces files by links, or moves them to a bin."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_probe.core.errors import ResultError

__all__ = ["alone"]


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Keep other processes from replacing or moving files through the same catalog.

    The lock ends with the process.

    Args:
        database: The catalog's file.

    Raises:
        ResultError: Another process holds the lock, or its file cannot be written.
    """
    path = database.with_name(f"{database.name}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unlockable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ResultError(
            "another mlx-probe links or moves files of this catalog",
            "Wait until it has ended, and run the command again",
        ) from error
    finally:
        os.close(descriptor)


def _unlockable(path: Path, error: OSError) -> ResultError:
    return ResultError(
        f"cannot write {path}: {os.strerror(error.errno or 0)}",
        "Choose another file for the catalog with --database",
    )
