"""The scan: every model in the known places, read where it has changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.models import load_models, save_model, set_missing
from mlx_probe.library.catalog.reading import key_of, look_at_files, read_model, stamp_of
from mlx_probe.library.catalog.records import Model
from mlx_probe.library.catalog.runs import find_runs, save_runs
from mlx_probe.source.stores import STORES
from mlx_probe.source.stores.discovery import StoredModel

__all__ = ["Scan", "remembered_folders", "scan"]

# Models read between two transactions: what a kill costs.
_BATCH = 20


@dataclass
class Scan:
    """What a scan did.

    Attributes:
        looked: Store and folder of each place that was there.
        added: Models seen for the first time.
        changed: Models read again.
        unchanged: How many were as they were.
        missing: Models whose files have gone since the last scan.
        problems: Models that cannot be read.
        troubles: Paths that could not be looked at, and why.
        runs: Finished runs that were found.
    """

    looked: list[tuple[str, Path]] = field(default_factory=list)
    added: list[Model] = field(default_factory=list)
    changed: list[Model] = field(default_factory=list)
    unchanged: int = 0
    missing: list[Model] = field(default_factory=list)
    problems: list[Model] = field(default_factory=list)
    troubles: list[tuple[Path, str]] = field(default_factory=list)
    runs: int = 0


def scan(
    database: Database,
    folders: Sequence[Path] = (),
    stores: Sequence[str] = (),
    runs: Sequence[Path] = (),
    watch: Callable[[Path], None] = lambda place: None,
) -> Scan:
    """Bring the catalog up to date with the disk.

    Args:
        database: The catalog.
        folders: Folders to look through, remembered for scans to come. With neither folders
            nor stores, all stores and the remembered folders are looked through.
        stores: Keys of `STORES`.
        runs: Folders with finished runs.
        watch: Told of each model before it is looked at.

    Raises:
        ConfigError: A folder that is none.
        ResultError: The catalog cannot be read or written.
    """
    for folder in folders:
        if not _is_folder(folder):
            raise ConfigError(f"{folder} is no folder", "Name folders that hold models")
    chosen = list(folders)
    if not folders and not stores:
        stores = list(STORES)
    if "folder" in stores:
        chosen += remembered_folders(database)
    rows = database.rows("SELECT key, store, stamp, missing FROM models")
    known = {row["key"]: row for row in rows}
    report, seen, waiting = Scan(), set[str](), list[tuple[Model, str]]()
    for found in _found(chosen, stores, report):
        watch(found.location)
        states = look_at_files(found)
        if not states and not found.problem:
            continue  # gone since it was found
        key, stamp = key_of(found), stamp_of(found, states)
        if key in seen:
            continue  # a folder within another, or a store's
        seen.add(key)
        row = known.get(key)
        if row is not None and not row["missing"] and _is_known(found, stamp, row):
            report.unchanged += 1
            continue
        model = read_model(found, states)
        if model.problem and not found.certain:
            continue  # nothing but a common suffix says that it is a model
        (report.added if row is None else report.changed).append(model)
        if model.problem:
            report.problems.append(model)
        waiting.append((model, stamp))
        if len(waiting) >= _BATCH:
            _save(database, waiting)
    _save(database, waiting)
    with database.writing():
        database_folders = [os.fsencode(folder.absolute()) for folder in folders]
        for path in database_folders:
            database.run("INSERT OR IGNORE INTO folders VALUES (?)", [path])
    models = load_models(database)
    report.missing = [m for m in models if m.key not in seen and not m.missing and _has_gone(m)]
    with database.writing():
        set_missing(database, [model.key for model in report.missing])
    there = [folder for folder in runs if _is_folder(folder)]
    found_runs = [run for folder in there for run in find_runs(folder)]
    report.runs = len(found_runs)
    save_runs(database, there, found_runs, models)
    return report


def remembered_folders(database: Database) -> list[Path]:
    """Folders that earlier scans were given."""
    rows = database.rows("SELECT path FROM folders ORDER BY path")
    return [Path(os.fsdecode(row["path"])) for row in rows]


def _found(folders: Iterable[Path], stores: Sequence[str], report: Scan) -> Iterator[StoredModel]:
    """Models of the stores first: what a store knows of them, a folder does not."""

    def trouble(path: Path, why: str) -> None:
        report.troubles.append((path, why))

    places = [(name, folder) for name in stores for folder in STORES[name].folders()]
    places += [("folder", folder.absolute()) for folder in folders]
    for name, folder in places:
        if not _is_folder(folder):
            if name == "folder":
                trouble(folder, "is no folder any more")
            continue
        report.looked.append((name, folder))
        try:
            yield from STORES[name].find(folder, trouble)
        except OSError as error:
            trouble(folder, os.strerror(error.errno or 0))


def _is_known(found: StoredModel, stamp: str, row: sqlite3.Row) -> bool:
    # A folder that is scanned may be a store's, and the store knows more of its models.
    return bool(stamp == row["stamp"]) or (found.store == "folder" and row["store"] != "folder")


def _has_gone(model: Model) -> bool:
    """Whether what names a model is there no more."""
    # An adapter of Ollama has its manifest's name with a word at its end.
    place = model.place.with_name(model.place.name.removesuffix(" (adapter)"))
    return not os.path.lexists(place) or all(map(_is_absent, (f.path for f in model.weights)))


def _is_absent(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # not for us to see is not gone
    return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _save(database: Database, waiting: list[tuple[Model, str]]) -> None:
    if waiting:
        with database.writing():
            for model, stamp in waiting:
                save_model(database, model, stamp)
        waiting.clear()
