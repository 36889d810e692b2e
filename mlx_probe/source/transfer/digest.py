"""Length and hashes of a file, and whether they are what the publisher says."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import read_blocks
from mlx_probe.core.sharding import MAX_NAME_BYTES, is_inside

__all__ = ["Hasher", "PublishedFile", "check_names", "hash_file", "name_problem"]

# The usual limit of file systems for a whole path is 4,096 bytes, on macOS 1,024.
_MAX_PATH_BYTES = 700
# Names of our own in every folder that a download fills; a published file may not have them.
_OWN = ("mlx-probe-manifest.json", ".mlx-probe")


@dataclass(frozen=True)
class PublishedFile:
    """A file as its publisher describes it.

    Attributes:
        name: Relative POSIX path within the model.
        size: Bytes; None if the publisher does not say.
        sha256: SHA-256 of the content in hexadecimal; None if unknown.
        blob_id: Git's hash of the content (SHA-1 of a header and the content), which the Hub
            has for files that are not in its large-file storage; None if unknown.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    blob_id: str | None = None

    @property
    def etag(self) -> str | None:
        """The hash that names the content; None if there is none."""
        return self.sha256 or self.blob_id


class Hasher:
    """Hashes a file as it arrives.

    Args:
        file: The file. Git's hash is computed too if it is the only published one.
    """

    def __init__(self, file: PublishedFile) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._git = None
        if file.sha256 is None and file.blob_id is not None and file.size is not None:
            self._git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, piece: bytes | memoryview) -> None:
        """Add the next bytes."""
        self.size += len(piece)
        self._sha256.update(piece)
        if self._git is not None:
            self._git.update(piece)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes so far, in hexadecimal."""
        return self._sha256.hexdigest()

    def mismatch(self, file: PublishedFile) -> str:
        """How length or hash differ from the published ones; "" if they do not."""
        if file.size is not None and self.size != file.size:
            return f"{self.size} bytes, not {file.size}"
        if file.sha256 is not None and self.sha256 != file.sha256:
            return f"sha256 {self.sha256}, not {file.sha256}"
        if self._git is not None and self._git.hexdigest() != file.blob_id:
            return f"git hash {self._git.hexdigest()}, not {file.blob_id}"
        return ""


def hash_file(
    path: Path, file: PublishedFile, on_bytes: Callable[[int], None] = lambda count: None
) -> Hasher:
    """Hash a file on the disk.

    Args:
        path: Where it is.
        file: What the publisher says of it.
        on_bytes: Called with the length of each piece read; may raise.

    Raises:
        OSError: It cannot be read.
    """
    hasher = Hasher(file)
    with path.open("rb", buffering=0) as content:
        for block in read_blocks(content, on_bytes):
            hasher.update(block)
    return hasher


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse names that are not separate files below one folder on every system.

    Args:
        names: Relative names, as their publisher gives them.
        where: The model, for the message.

    Raises:
        SourceError: One leads outside, is too long, or collides with another.
    """
    seen: dict[tuple[str, ...], str] = {}
    folders: dict[tuple[str, ...], str] = {}
    for name in names:
        if problem := name_problem(name):
            raise _hostile(where, name, problem)
        key = _as_macos_compares(name)
        if key in seen:
            raise _hostile(where, name, f"and {seen[key][:80]!r} are one name on some systems")
        seen[key] = name
        for depth in range(1, len(key)):
            folders.setdefault(key[:depth], name)
    for key, name in seen.items():
        if key in folders:
            raise _hostile(where, name, f"is a file and a folder, of {folders[key][:80]!r}")


def name_problem(name: str) -> str:
    """Why a published name may not become a file's path below a folder; "" if it may."""
    path = PurePosixPath(name)
    if not is_inside(name) or str(path) != name:
        return "is no plain name below a folder"
    parts = [part.encode("utf-8", "surrogatepass") for part in path.parts]
    if max(map(len, parts)) > MAX_NAME_BYTES or sum(map(len, parts)) > _MAX_PATH_BYTES:
        return "is too long a name"
    if _as_macos_compares(name)[0] in _OWN:
        return "is the name of this tool's own records"
    return ""


def _as_macos_compares(name: str) -> tuple[str, ...]:
    return tuple(
        unicodedata.normalize("NFC", part).casefold() for part in PurePosixPath(name).parts
    )


def _hostile(where: str, name: str, what: str) -> SourceError:
    return SourceError(
        f"{where}: file name {name[:80]!r}{'...' * (len(name) > 80)} {what}",
        "Do not use this model, or leave the file out with --exclude",
    )
