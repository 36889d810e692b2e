"""The folder of secret, guests and audit log: its user's alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.core.paths import data_dir

__all__ = ["audit_path", "locked", "share_folder", "unusable"]


def share_folder() -> Path:
    """The folder, which need not exist."""
    return data_dir() / "share"


def audit_path() -> Path:
    """The audit log, unless --audit names another."""
    return share_folder() / "audit.jsonl"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other processes from changing what is in it.

    Raises:
        ResultError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(folder / ".lock", flags, 0o600)
    except OSError as error:
        raise unusable(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unusable(path: Path, error: OSError) -> ResultError:
    """The error for a file of this folder that the system refuses."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ResultError(
        f"cannot use {path}: {reason}",
        "Free space or give yourself permission there, or set MLX_PROBE_DATA to another folder",
    )
