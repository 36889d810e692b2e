"""mlx-probe-manifest.json: sizes and hashes of downloaded files, beside the files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import atomic_replace
from mlx_probe.core.version import __version__
from mlx_probe.source.transfer.digest import PublishedFile, check_names

__all__ = ["MANIFEST", "Manifest", "ManifestFile", "read_manifest", "record", "write_manifest"]

MANIFEST = "mlx-probe-manifest.json"
FORMAT = 1
_MAX_BYTES = 100 * 1000 * 1000


@dataclass(frozen=True)
class ManifestFile:
    """A file at the time its hash was verified.

    Attributes:
        name: Relative POSIX path below the manifest's folder.
        size: Bytes.
        sha256: SHA-256 of the content in hexadecimal.
        mtime_ns: Time of its last change in nanoseconds, as the file system has it.
    """

    name: str
    size: int
    sha256: str
    mtime_ns: int

    @property
    def published(self) -> PublishedFile:
        """What the file has to be."""
        return PublishedFile(self.name, self.size, self.sha256)

    def vouches_for(self, path: Path) -> bool:
        """Whether the file has not changed since, by size and time; its content is not read."""
        try:
            status = path.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True)
class Manifest:
    """What a folder holds and where it came from.

    Attributes:
        source: Key of `SOURCES`.
        model: What the source calls the model.
        revision: Commit, version; "" where the source has none.
        endpoint: Address of the server that listed the files, without credentials; "" if none did.
        created_at: ISO 8601, UTC.
        code_version: Version of this package.
        files: The files.
    """

    source: str
    model: str
    revision: str
    endpoint: str
    created_at: str
    code_version: str
    files: tuple[ManifestFile, ...]

    def find(self, name: str) -> ManifestFile | None:
        """The record of a file; None if there is none."""
        return next((file for file in self.files if file.name == name), None)


def record(file: PublishedFile, path: Path) -> ManifestFile:
    """The record of a file that has just been verified.

    Raises:
        OSError: It is not there.
        ValueError: Its hash is not known.
    """
    if file.sha256 is None:
        raise ValueError(f"{file.name} has no SHA-256")
    status = path.stat()
    return ManifestFile(file.name, status.st_size, file.sha256, status.st_mtime_ns)


def write_manifest(
    folder: Path, source: str, model: str, revision: str, endpoint: str, files: Iterable[Any]
) -> Path:
    """Write a manifest; records of other files in an earlier one of the same revision stay.

    Args:
        folder: Where the files are.
        source: See `Manifest`.
        model: See `Manifest`.
        revision: See `Manifest`.
        endpoint: See `Manifest`.
        files: Each a `ManifestFile`.

    Raises:
        OSError: The folder cannot be written.
    """
    known: dict[str, ManifestFile] = {}
    try:
        before = read_manifest(folder)
    except SourceError:
        before = None
    if before and (before.source, before.model, before.revision) == (source, model, revision):
        known = {file.name: file for file in before.files if (folder / file.name).is_file()}
    known |= {file.name: file for file in files}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    content = {
        "format": FORMAT,
        "source": source,
        "model": model,
        "revision": revision,
        "endpoint": endpoint,
        "created_at": now,
        "code_version": __version__,
        "files": [asdict(known[name]) for name in sorted(known)],
    }
    path = folder / MANIFEST
    # Others may write into this folder: not under a name that they know.
    with atomic_replace(path, scratch=folder) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", "utf-8")
    return path


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None if it has none.

    Raises:
        SourceError: It is damaged, of a later format, or names files outside of the folder.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _damaged(path, f"larger than {_MAX_BYTES} bytes")
        content = json.loads(path.read_bytes().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", "Check its permissions"
        ) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _damaged(path, f"not of format {FORMAT}")
    texts = ("source", "model", "revision", "endpoint", "created_at", "code_version")
    if not all(isinstance(content.get(name), str) for name in texts):
        raise _damaged(path, "incomplete")
    listed = content.get("files")
    if not isinstance(listed, list) or not all(map(_is_file, listed)):
        raise _damaged(path, "its list of files is damaged")
    check_names([file["name"] for file in listed], str(path))
    files = tuple(ManifestFile(f["name"], f["size"], f["sha256"], f["mtime_ns"]) for f in listed)
    return Manifest(**{name: content[name] for name in texts}, files=files)


def _is_file(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    sha256 = value.get("sha256")
    return (
        isinstance(value.get("name"), str)
        and all(type(value.get(name)) is int for name in ("size", "mtime_ns"))
        and isinstance(sha256, str)
        and len(sha256) == 64
        and set(sha256) <= set("0123456789abcdef")
    )


def _damaged(path: Path, what: str) -> SourceError:
    return SourceError(
        f"{path} is no manifest: {what}", "Delete it and run `mlx-probe download` again"
    )
