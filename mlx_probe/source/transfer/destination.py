"""Where downloaded files go: a folder of the user, filled without following links out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from mlx_probe.core.errors import SourceError
from mlx_probe.source.transfer.digest import PublishedFile

__all__ = ["Destination", "FolderDestination", "has_size", "locked", "open_partial"]

# Folder for unfinished files and locks. A lock is never deleted: a process that waits for a
# deleted lock and one that makes a new lock would both go on.
WORK_FOLDER = ".mlx-probe"


class Destination(Protocol):
    """Where a model's files go.

    The name of an unfinished file is its ``key``, made from its content, so that bytes of one
    revision never become part of another.
    """

    @property
    def folder(self) -> Path:
        """Folder that the files' names are relative to."""

    @property
    def variable(self) -> str:
        """Option or environment variable that moves it to another disk."""

    def find(self, file: PublishedFile) -> Path | None:
        """The file, if it is there and has the right length; its content is not read."""

    def partial_size(self, key: str) -> int:
        """Bytes of an unfinished file on this disk."""

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Keeps other processes from the unfinished file."""

    def open_partial(self, key: str) -> AbstractContextManager[BinaryIO]:
        """The unfinished file, to read and write; removed afterwards if it is empty."""

    def keep(self, file: PublishedFile, key: str) -> Path:
        """Give the unfinished file its name; replaces another file of that name."""


class FolderDestination:
    """A folder that the user chose.

    Args:
        folder: The folder; made when it is needed. May itself be a link, since the user chose it.
        variable: See `Destination`.
    """

    def __init__(self, folder: Path, variable: str = "--local-dir") -> None:
        self.folder = folder
        self.variable = variable
        self._work_folder = folder / WORK_FOLDER

    def find(self, file: PublishedFile) -> Path | None:
        """See `Destination`."""
        path = self.folder / file.name
        self._check_parents(file.name)
        return path if has_size(path, file) else None

    def partial_size(self, key: str) -> int:
        """See `Destination`."""
        path = self._partial(key)
        return path.lstat().st_size if _is_own_file(path) else 0

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """See `Destination`."""
        self._make_work_folder()
        with locked(self._work_folder / f"{key}.lock"):
            yield

    def open_partial(self, key: str) -> AbstractContextManager[BinaryIO]:
        """See `Destination`."""
        self._make_work_folder()
        return open_partial(self._partial(key))

    def keep(self, file: PublishedFile, key: str) -> Path:
        """See `Destination`."""
        path = self.prepare(file.name)
        # If the name is a link, this replaces the link and not what it leads to.
        self._partial(key).replace(path)
        return path

    def prepare(self, name: str) -> Path:
        """Make the folders that a file lies in; returns its path.

        Raises:
            SourceError: One of them is a link or a file, or there is a folder of the file's name.
        """
        path = self.folder / name
        self._check_parents(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            raise SourceError(f"{path} is a folder", "Move it away, or choose another --local-dir")
        return path

    def _partial(self, key: str) -> Path:
        return self._work_folder / f"{key}.incomplete"

    def _make_work_folder(self) -> None:
        self._check_parents(f"{WORK_FOLDER}/x")
        self._work_folder.mkdir(parents=True, exist_ok=True)

    def _check_parents(self, name: str) -> None:
        path = self.folder
        for part in PurePosixPath(name).parts[:-1]:
            path = path / part
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                return
            if not stat.S_ISDIR(mode):
                what = "a link, which may lead elsewhere" if stat.S_ISLNK(mode) else "no folder"
                raise SourceError(
                    f"{path} is {what}: nothing is written below it",
                    "Move it away, or choose another --local-dir",
                )


def has_size(path: Path, file: PublishedFile) -> bool:
    """Whether a file, or what a link leads to, has the published length; any if none is known."""
    try:
        return path.is_file() and file.size in (None, path.stat().st_size)
    except OSError:
        return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold huggingface_hub's kind of lock; go on without one if the file system has none."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    # Some versions of the lock's library would empty the file that a link points to.
    if path.is_symlink():
        path.unlink()
    with WeakFileLock(path):
        yield


@contextmanager
def open_partial(path: Path) -> Iterator[BinaryIO]:
    """Open an unfinished file, or make it.

    Args:
        path: The file. A symbolic link, or a hard link to a file with other names, is removed
            first: the file that it leads to is not ours.
    """
    if os.path.lexists(path) and not _is_own_file(path):
        path.unlink()
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o666)
    with open(descriptor, "r+b", buffering=0) as file:  # noqa: PTH123  a descriptor
        try:
            yield file
        finally:
            if os.fstat(descriptor).st_size == 0:
                path.unlink(missing_ok=True)


def _is_own_file(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
