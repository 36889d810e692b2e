"""Where downloaded files go: a folder of the user's, filled without following links out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from mlx_probe.core.errors import SourceError
from mlx_probe.source.transfer.digest import PublishedFile

__all__ = ["Destination", "FolderDestination", "locked", "open_partial"]

# What is not finished, and the locks. They stay: a lock that is deleted while another process
# waits for it is two locks from then on.
WORKSHOP = ".mlx-probe"


class Destination(Protocol):
    """Where a model's files go.

    Files not yet complete have the name of their ``key``: of their content, so that what is
    left of one revision's file never passes for another's.
    """

    @property
    def folder(self) -> Path:
        """Folder that the files' names are relative to."""

    @property
    def variable(self) -> str:
        """What the user sets to move it to another disk."""

    def find(self, file: PublishedFile) -> Path | None:
        """The file, if it is there and as long as it should be; nothing of it is read."""

    def partial_size(self, key: str) -> int:
        """Bytes that are there of an unfinished file."""

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Keeps other processes from the unfinished file."""

    def open_partial(self, key: str) -> AbstractContextManager[BinaryIO]:
        """The unfinished file, to read and write; removed afterwards if it is empty."""

    def keep(self, file: PublishedFile, key: str) -> Path:
        """Give the unfinished file its name, in place of any other file of that name."""


class FolderDestination:
    """A folder of the user's.

    Args:
        folder: The folder; made when it is needed. May itself be a link: the user chose it.
        variable: See `Destination`.
    """

    def __init__(self, folder: Path, variable: str = "--local-dir") -> None:
        self.folder = folder
        self.variable = variable
        self._workshop = folder / WORKSHOP

    def find(self, file: PublishedFile) -> Path | None:
        """See `Destination`."""
        path = self.folder / file.name
        self._check_parents(file.name)
        try:
            found = path.stat()
        except OSError:
            return None
        fits = stat.S_ISREG(found.st_mode) and file.size in (None, found.st_size)
        return path if fits else None

    def partial_size(self, key: str) -> int:
        """See `Destination`."""
        path = self._partial(key)
        return path.lstat().st_size if _is_own_file(path) else 0

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """See `Destination`."""
        self._make_workshop()
        with locked(self._workshop / f"{key}.lock"):
            yield

    def open_partial(self, key: str) -> AbstractContextManager[BinaryIO]:
        """See `Destination`."""
        self._make_workshop()
        return open_partial(self._partial(key))

    def keep(self, file: PublishedFile, key: str) -> Path:
        """See `Destination`."""
        path = self.prepare(file.name)
        # Not through a link of that name: the link itself is replaced.
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
        return self._workshop / f"{key}.incomplete"

    def _make_workshop(self) -> None:
        self._check_parents(f"{WORKSHOP}/x")
        self._workshop.mkdir(parents=True, exist_ok=True)

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


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold huggingface_hub's kind of lock; where the file system has none, go without."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    # Not every version of the lock's library refuses to empty what a link points to.
    if path.is_symlink():
        path.unlink()
    with WeakFileLock(path):
        yield


@contextmanager
def open_partial(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is to be completed, or begin it.

    Args:
        path: The file. A link of that name, or a name among several of one file, is removed
            first: what it leads to is not ours.
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
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1
