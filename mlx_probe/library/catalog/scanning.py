"""The scan: finds every model in the stores and folders, and reads those that changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.folders import remembered_folders
from mlx_probe.library.catalog.models import load_models, save_model, set_missing
from mlx_probe.library.catalog.reading import file_states, key_of, read_model, stamp_of
from mlx_probe.library.catalog.records import Model
from mlx_probe.library.catalog.runs import find_runs, save_runs
from mlx_probe.source.stores import STORES
from mlx_probe.source.stores.protocol import StoredModel

__all__ = ["Scan", "scan"]

# Models that are read between two transactions: a kill loses so many at most.
_BATCH = 20


@dataclass
class Scan:
    """The result of a scan.

    Attributes:
        searched: Store and folder of each search.
        added: Models that were not in the catalog.
        changed: Models read again.
        unchanged: Number of models that have not changed.
        missing: Models whose files are gone since the last scan.
        problems: Models that cannot be read.
        troubles: Paths that could not be searched, and why.
        runs: Number of finished runs.
    """

    searched: list[tuple[str, Path]] = field(default_factory=list)
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
    on_model: Callable[[Path], None] = lambda location: None,
) -> Scan:
    """Bring the catalog up to date with the disk.

    Args:
        database: The catalog.
        folders: Folders to search; later scans search them again. Without folders and stores,
            all stores and all remembered folders are searched.
        stores: Keys of `STORES`.
        runs: Folders with finished runs.
        on_model: Called with the location of each model before it is read.

    Raises:
        ConfigError: One of the folders is not a folder.
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
    for stored in _stored_models(chosen, stores, report):
        on_model(stored.location)
        states = file_states(stored)
        if not states and not stored.problem:
            continue  # deleted in the meantime
        key, stamp = key_of(stored), stamp_of(stored, states)
        if key in seen:
            continue  # the folder is part of another one, or of a store
        seen.add(key)
        row = known.get(key)
        if row is not None and not row["missing"] and _is_known(stored, stamp, row):
            report.unchanged += 1
            continue
        model = read_model(stored, states)
        if model.problem and not stored.certain:
            continue  # only a common suffix says that it is a model
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
    report.missing = [m for m in models if m.key not in seen and not m.missing and _is_missing(m)]
    with database.writing():
        set_missing(database, [model.key for model in report.missing])
    run_folders = [folder for folder in runs if _is_folder(folder)]
    stored_runs = [run for folder in run_folders for run in find_runs(folder)]
    report.runs = len(stored_runs)
    save_runs(database, run_folders, stored_runs, models)
    return report


def _stored_models(
    folders: Iterable[Path], stores: Sequence[str], report: Scan
) -> Iterator[StoredModel]:
    """Models of the stores first: a store knows more about them than a folder."""

    def trouble(path: Path, why: str) -> None:
        report.troubles.append((path, why))

    searches = [(name, folder) for name in stores for folder in STORES[name].folders()]
    searches += [("folder", folder.absolute()) for folder in folders]
    for name, folder in searches:
        if not _is_folder(folder):
            if name == "folder":
                trouble(folder, "is no folder any more")
            continue
        report.searched.append((name, folder))
        try:
            yield from STORES[name].find(folder, trouble)
        except OSError as error:
            trouble(folder, os.strerror(error.errno or 0))


def _is_known(stored: StoredModel, stamp: str, row: sqlite3.Row) -> bool:
    # The folder may belong to a store, which knows more about its models.
    return bool(stamp == row["stamp"]) or (stored.store == "folder" and row["store"] != "folder")


def _is_missing(model: Model) -> bool:
    """Whether the location or all weight files of a model are gone."""
    # The location of an Ollama adapter is its manifest with a word appended.
    location = model.location.with_name(model.location.name.removesuffix(" (adapter)"))
    return not os.path.lexists(location) or all(map(_is_absent, (f.path for f in model.weights)))


def _is_absent(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # without permission nobody can say that it is gone
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
