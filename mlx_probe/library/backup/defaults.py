"""What is backed up where no path is given: runs, documents, configuration, catalog."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from filecmp import cmp
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ProbeError
from mlx_probe.core.files import replacing

__all__ = ["default_paths"]

# Beside the catalog, so that it is restored there.
_COPY = "{stem}-backup{suffix}"


def default_paths(database: Path, here: Path) -> list[tuple[str, Path]]:
    """What there is, each with its kind; the catalog as a copy that no other process writes.

    Args:
        database: The catalog.
        here: The folder that the commands are started in.

    Raises:
        ConfigError: There is nothing.
        ResultError: The catalog cannot be copied.
    """
    found: dict[Path, str] = {}
    for kind, paths in _KINDS.items():
        for path in paths(database, here):
            if path.exists() and path.resolve() not in found:
                found[path.resolve()] = kind
    if not found:
        raise ConfigError(
            f"{here} has no runs, documents or configuration, and there is no catalog",
            "Name what to back up: mlx-probe backup create PATH --repo DIR",
        )
    return [(kind, path) for path, kind in found.items()]


def _runs(database: Path, here: Path) -> Iterator[Path]:
    yield here / "data" / "outputs"
    if not database.exists():
        return
    from mlx_probe.library.catalog.database import open_database

    # A damaged catalog is said by its own commands.
    with suppress(ProbeError), open_database(database, read_only=True) as opened:
        for row in opened.rows("SELECT path FROM runs"):
            # The row names a file of the run's folder.
            yield Path(os.fsdecode(row["path"])).parent


def _documents(database: Path, here: Path) -> Iterator[Path]:
    from mlx_probe.library.documents.project import KINDS, MARKER

    yield here / "docs"
    with suppress(OSError):
        yield from (path.parent for path in sorted(here.glob(f"*/{MARKER}")))
    # A project that the command is started in may have anything else beside its documents.
    if (here / MARKER).exists():
        yield from (here / MARKER, *(here / kind.folder for kind in KINDS.values()))
        yield from sorted(here.glob("*.md"))


def _configuration(database: Path, here: Path) -> Iterator[Path]:
    yield here / "configs"


def _catalog(database: Path, here: Path) -> Iterator[Path]:
    if database.exists():
        yield copy_catalog(database)


def copy_catalog(database: Path) -> Path:
    """A copy of the catalog, consistent whoever writes into it; the old one if nothing changed.

    Raises:
        ResultError: It cannot be read, or the copy not be written.
    """
    from mlx_probe.library.catalog.database import explained

    copy = database.with_name(_COPY.format(stem=database.stem, suffix=database.suffix))
    with replacing(copy) as temporary:
        # What a killed process left would be taken for a database with content.
        temporary.unlink(missing_ok=True)
        with (
            explained(database),
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(temporary)) as target,
        ):
            source.backup(target)
        if copy.exists() and cmp(temporary, copy, shallow=False):
            # The same file with the same times need not be stored again.
            status = copy.stat()
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    return copy


_KINDS: Mapping[str, Callable[[Path, Path], Iterator[Path]]] = {
    "runs": _runs,
    "documents": _documents,
    "configuration": _configuration,
    "catalog": _catalog,
}
