"""Manifests: what a snapshot has, as gzipped JSON lines, named by their own hash.

The first line is about the snapshot, the last one has its totals, each between is an entry.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from .records import ArchiveDamage, Entry, Snapshot, Totals
from .store import disk_error, sync_folder

__all__ = [
    "MANIFEST_SUFFIX",
    "Manifest",
    "ManifestWriter",
    "manifest_path",
    "read_beginning",
    "read_manifest",
]

MANIFEST_SUFFIX = ".jsonl.gz"
_ID = 16
_KIND = "mlx-probe backup"
_VERSION = 1
# A list of the chunks of four terabytes fits into a line.
_LONGEST_LINE = 1 << 27
_LEVEL = 1
# Bytes that the first line is in; a backup of very many paths may need more.
_BEGINNING = 1 << 16


class ManifestWriter:
    """Writes a manifest under a name that nobody takes for one, until `finish`.

    Args:
        folder: The snapshots of the archive.
        about: The first line: time, base, paths, program.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self._folder, self._about = folder, about
        self._path = folder / ".new.tmp"
        try:
            self._raw = self._path.open("wb")
        except OSError as error:
            raise disk_error(self._path, error) from error
        # No time and no name inside: the same content has the same bytes.
        packed = gzip.GzipFile("", "wb", _LEVEL, self._raw, mtime=0)
        # Lines are short: together they are packed faster.
        self._file = io.BufferedWriter(cast(io.RawIOBase, packed), _BEGINNING)
        self._put({"kind": _KIND, "version": _VERSION, **about})

    def add(self, entry: Entry) -> None:
        """Append an entry.

        Raises:
            ResultError: The disk refused.
        """
        self._put(entry.describe())

    def _put(self, value: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(value).encode("ascii") + b"\n")
        except OSError as error:
            raise disk_error(self._path, error) from error

    def finish(self, totals: Totals) -> Snapshot:
        """Write the last line and give the manifest its name: from now on the snapshot exists.

        Raises:
            ResultError: The disk refused; there is no snapshot.
        """
        self._put({"totals": asdict(totals)})
        try:
            self._file.close()
            self._raw.flush()
            os.fsync(self._raw.fileno())
            self._raw.close()
            name = hashlib.sha256(self._path.read_bytes()).hexdigest()[:_ID]
            self._path.rename(manifest_path(self._folder, name))
        except OSError as error:
            raise disk_error(self._path, error) from error
        sync_folder(self._folder)
        return _snapshot(name, self._about, totals)

    def abandon(self) -> None:
        """Remove what there is, unless it is finished."""
        if not self._raw.closed:
            # What is still to be written may be what failed.
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._raw.close()
            with suppress(OSError):
                self._path.unlink()


def manifest_path(folder: Path, name: str) -> Path:
    """Where the manifest of a snapshot is."""
    return folder / f"{name}{MANIFEST_SUFFIX}"


class Manifest:
    """An opened manifest.

    Args:
        path: The file.
        content: Its bytes, or the beginning of them.

    Attributes:
        base: See `Snapshot`.
        paths: See `Snapshot`.
        time: See `Snapshot`.
        began_ns: When the backup was begun, nanoseconds.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self._content = path, content
        about = self._parsed(next(self._lines(), b""))
        if not isinstance(about, dict) or about.get("kind") != _KIND:
            raise _damaged(path, "it is no manifest")
        if about.get("version") != _VERSION:
            raise ArchiveDamage(
                f"{path} has version {about.get('version')!r} of manifests; this mlx-probe knows "
                f"version {_VERSION}",
                "Update mlx-probe",
            )
        try:
            self.base, self.time = str(about["base"]), str(about["time"])
            self.paths = tuple(str(path) for path in about["paths"])
            self.began_ns = int(about["began_ns"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, "it is no manifest") from error
        self._about = about

    @cached_property
    def snapshot(self) -> Snapshot:
        """What it is of, with the totals of its last line.

        Raises:
            ArchiveDamage: It has none.
        """
        (last,) = deque(self._lines(), maxlen=1)
        try:
            totals = Totals(**self._parsed(last)["totals"])
        except (KeyError, TypeError) as error:
            raise _damaged(self.path, "it is no manifest") from error
        return _snapshot(self.path.name.removesuffix(MANIFEST_SUFFIX), self._about, totals)

    def entries(self) -> Iterator[Entry]:
        """The entries, folders before what is in them.

        Raises:
            ArchiveDamage: Something is no entry, or its path leads out.
        """
        for line in self.plain_entries():
            try:
                yield Entry.read(line)
            except (TypeError, ValueError) as error:
                raise _damaged(self.path, f"hostile or damaged, {error}") from error

    def plain_entries(self) -> Iterator[Any]:
        """The entries as they are written, whatever that is.

        Raises:
            ArchiveDamage: They cannot be read.
        """
        lines = self._lines()
        next(lines)
        for text in lines:
            line = self._parsed(text)
            if isinstance(line, dict) and line.keys() == {"totals"}:
                return
            yield line

    def _lines(self) -> Iterator[bytes]:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(self._content)) as file:
                while line := file.readline(_LONGEST_LINE):
                    if not line.endswith(b"\n"):
                        raise _damaged(self.path, "a line without an end")
                    yield line
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(self.path, error) from error

    def _parsed(self, line: bytes) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _damaged(self.path, error) from error


def read_beginning(path: Path) -> Manifest | None:
    """A manifest of which only the first line can be read, unchecked; None if not even that."""
    try:
        with path.open("rb") as file:
            return Manifest(path, file.read(_BEGINNING))
    except (OSError, ArchiveDamage):
        return None


def read_manifest(path: Path) -> Manifest:
    """Open a manifest, checked against its name.

    Raises:
        ArchiveDamage: It is damaged, missing, or of a newer version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _damaged(path, os.strerror(error.errno or 0)) from error
    name = path.name.removesuffix(MANIFEST_SUFFIX)
    if hashlib.sha256(content).hexdigest()[:_ID] != name:
        raise _damaged(path, "its hash is not its name")
    return Manifest(path, content)


def _snapshot(name: str, about: dict[str, Any], totals: Totals) -> Snapshot:
    paths = tuple(str(path) for path in about["paths"])
    return Snapshot(
        name, str(about["time"]), str(about["base"]), paths, totals, str(about.get("program", ""))
    )


def _damaged(path: Path, why: object) -> ArchiveDamage:
    return ArchiveDamage(
        f"{path} is damaged: {why}",
        "Restore another snapshot; `mlx-probe backup verify` says which are whole",
    )
