"""A folder that is held open: its files are reached through it, by no path and no link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ResultError

__all__ = ["Found", "HeldFolder", "NotServedError"]

# Folders below one another, and files of a run, that are looked at.
_DEEPEST, _MOST = 16, 20_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe that has taken a file's name would hold the server.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class NotServedError(Exception):
    """A file that is not, or no longer, what may be served; the text says why."""


@dataclass(frozen=True)
class Found:
    """A name in a folder.

    Attributes:
        parts: The names of the folders down to it, and its own.
        size: Bytes.
        left_out: Why it is not served; "" for a file that may be.
    """

    parts: tuple[str, ...]
    size: int
    left_out: str = ""


class HeldFolder:
    """An open folder.

    Args:
        path: The folder; links on the way to it are followed now and never again.

    Raises:
        ResultError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            self._descriptor = os.open(self.path, _DIRECTORY)
        except OSError as error:
            raise ResultError(
                f"cannot read {path}: {os.strerror(error.errno or 0)}",
                "Check that the folder is there and readable",
            ) from error

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._descriptor)

    def open(self, parts: tuple[str, ...]) -> tuple[int, int]:
        """Open a file for reading, without following any link.

        Args:
            parts: The names down to it, each the name of an entry.

        Returns:
            Its descriptor, which the caller closes, and its size.

        Raises:
            NotServedError: It is gone, or is now a link, a file with other names, or no file.
        """
        folder = self._descriptor
        opened = []
        try:
            for name in parts[:-1]:
                folder = os.open(_entry(name), _DIRECTORY, dir_fd=folder)
                opened.append(folder)
            name = _entry(parts[-1])
            # Looked at first: opening a device may do something.
            _check(os.stat(name, dir_fd=folder, follow_symlinks=False))
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except OSError as error:
            raise NotServedError(os.strerror(error.errno or 0)) from error
        finally:
            for each in opened:
                os.close(each)
        try:
            # Looked at again: what was opened is what counts.
            return descriptor, _check(os.fstat(descriptor))
        except NotServedError:
            os.close(descriptor)
            raise

    def files(self) -> Iterator[Found]:
        """All names below the folder in order, links and the like with the reason against them.

        Raises:
            ResultError: There are too many.
        """
        for count, found in enumerate(self._below((), os.dup(self._descriptor))):
            if count >= _MOST:
                raise ResultError(
                    f"{self.path} has more than {_MOST:,} files",
                    "Share the folder of one run, not one that holds many",
                )
            yield found

    def _below(self, parts: tuple[str, ...], descriptor: int) -> Iterator[Found]:
        try:
            with os.scandir(descriptor) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                inner = (*parts, name)
                if name.startswith("."):
                    yield Found(inner, 0, "hidden")
                    continue
                try:
                    state = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    if not stat.S_ISDIR(state.st_mode):
                        yield Found(inner, _check(state))
                    elif len(inner) > _DEEPEST:
                        yield Found(inner, 0, "too deep")
                    else:
                        yield from self._below(inner, os.open(name, _DIRECTORY, dir_fd=descriptor))
                except NotServedError as error:
                    yield Found(inner, 0, str(error))
                except OSError as error:
                    yield Found(inner, 0, os.strerror(error.errno or 0))
        finally:
            os.close(descriptor)


def _entry(name: str) -> str:
    """A name that is one entry of a folder; anything else would be a path."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise NotServedError("no name of a file")
    return name


def _check(state: os.stat_result) -> int:
    """The size of a regular file with one name."""
    if stat.S_ISLNK(state.st_mode):
        raise NotServedError("a link")
    if not stat.S_ISREG(state.st_mode):
        raise NotServedError("no regular file")
    # A second name may lie anywhere: the file may be somebody else's.
    if state.st_nlink > 1:
        raise NotServedError("a file with several names (hard links)")
    return state.st_size
