"""The scan: finds every run below the folders, and reads those that changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import sha256_file
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.models import load_models
from mlx_probe.library.catalog.runs import read_run, save_runs
from mlx_probe.library.experiments.storing import save_damaged, save_experiment
from mlx_probe.runs.experiments.find import find_markers
from mlx_probe.runs.folder import DEFAULT_ROOT

if TYPE_CHECKING:
    from mlx_probe.runs.experiments.records import Experiment

__all__ = ["RunScan", "remembered_run_folders", "save_run", "scan_experiments"]

# Runs that are saved in one transaction: a kill loses so many at most.
_BATCH = 200
# States that change without a new marker.
_UNSETTLED = ("running", "interrupted", "damaged")
# Kinds that the catalog lists with its models.
_MEASURING = ("analyze", "compare")
# Bytes of a marker that is hashed: real metadata has a few hundred kilobytes.
_MOST = 64 << 20


@dataclass
class _Reading:
    """What was read of a run: an experiment, or why there is none."""

    marker: Path
    stamp: str
    sha256: str
    experiment: Experiment | None
    reason: str
    number: int | None = None

    @property
    def state(self) -> str:
        return "damaged" if self.experiment is None else self.experiment.state

    @property
    def kind(self) -> str:
        return "" if self.experiment is None else self.experiment.kind

    def save(self, database: Database) -> None:
        """Within `Database.writing`."""
        if self.experiment is None:
            save_damaged(database, self.number, self.marker, self.stamp, self.sha256, self.reason)
        else:
            save_experiment(database, self.number, self.experiment, self.stamp, self.sha256)


@dataclass
class RunScan:
    """The result of a scan.

    Attributes:
        searched: The folders.
        added: Markers of runs that were not in the catalog.
        changed: Markers of runs that were read again.
        moved: Markers of runs that were elsewhere before, with their notes.
        unchanged: Number of runs that have not changed.
        missing: Markers of runs that are gone since the last scan.
        damaged: Markers of runs that cannot be read, and why.
        troubles: Folders that could not be searched, and why.
    """

    searched: list[Path] = field(default_factory=list)
    added: list[Path] = field(default_factory=list)
    changed: list[Path] = field(default_factory=list)
    moved: list[Path] = field(default_factory=list)
    unchanged: int = 0
    missing: list[Path] = field(default_factory=list)
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    troubles: list[tuple[Path, str]] = field(default_factory=list)


def scan_experiments(
    database: Database,
    folders: Sequence[Path] = (),
    on_run: Callable[[Path], None] = lambda marker: None,
) -> RunScan:
    """Bring what the catalog knows of runs up to date with the disk.

    Args:
        database: The catalog.
        folders: Folders to search; later scans search them again. Without any, data/outputs and
            all remembered folders are searched.
        on_run: Called with the marker of each run before it is read.

    Raises:
        ConfigError: One of the folders is not a folder.
        ResultError: The catalog cannot be read or written.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder", "Name folders that hold runs")
    report = RunScan()
    with database.writing():
        for folder in folders:
            path = os.fsencode(os.path.realpath(folder))
            database.run("INSERT OR IGNORE INTO run_folders VALUES (?)", [path])
    rows = database.rows(
        "SELECT number, marker, stamp, state, sha256, missing FROM experiments WHERE token = ''"
    )
    known = {bytes(row["marker"]): row for row in rows}
    stamps = dict(_stamps(report, folders or _usual(database)))
    lost = {
        marker: row
        for marker, row in known.items()
        if marker not in stamps and not os.path.lexists(marker)
    }
    by_content = _only_ones(lost.values())
    waiting: list[_Reading] = []
    measured: list[Path] = []
    for encoded, stamp in stamps.items():
        row, marker = known.get(encoded), Path(os.fsdecode(encoded))
        if row is not None and _is_settled(row, stamp):
            report.unchanged += 1
            continue
        on_run(marker)
        reading = _read(marker, stamp)
        if row is None and (earlier := by_content.pop(reading.sha256, None)) is not None:
            row = earlier
            del lost[bytes(row["marker"])]
            report.moved.append(marker)
        elif row is None:
            report.added.append(marker)
        elif row["missing"] or (row["sha256"], row["state"]) != (reading.sha256, reading.state):
            report.changed.append(marker)
        else:
            report.unchanged += 1
        reading.number = None if row is None else int(row["number"])
        if reading.reason:
            report.damaged.append((marker, reading.reason))
        elif reading.kind in _MEASURING:
            measured.append(marker)
        waiting.append(reading)
        if len(waiting) >= _BATCH:
            _save(database, waiting)
    _save(database, waiting)
    report.missing = [
        Path(os.fsdecode(marker)) for marker, row in lost.items() if not row["missing"]
    ]
    with database.writing():
        numbers = [[row["number"]] for row in lost.values()]
        database.run_many("UPDATE experiments SET missing = 1 WHERE number = ?", numbers)
    _tell_catalog(database, measured)
    return report


def save_run(database: Database, path: Path) -> Path:
    """Take one run into the catalog, or read it again; returns its marker.

    Args:
        database: The catalog.
        path: The run folder, or its marker.

    Raises:
        ResultError: There is no run, or it cannot be read.
    """
    # The reader imports all kinds of runs, which a list of them does not need.
    from mlx_probe.runs.experiments.read import read_experiment

    marker = read_experiment(path).marker
    reading = _read(marker, _stamp(marker))
    with database.writing():
        rows = database.rows(
            "SELECT number FROM experiments WHERE marker = ?", [os.fsencode(marker)]
        )
        reading.number = int(rows[0]["number"]) if rows else None
        reading.save(database)
    return marker


def remembered_run_folders(database: Database) -> list[Path]:
    """Folders that earlier scans were given."""
    rows = database.rows("SELECT path FROM run_folders ORDER BY path")
    return [Path(os.fsdecode(row["path"])) for row in rows]


def _usual(database: Database) -> list[Path]:
    folders = remembered_run_folders(database)
    return [DEFAULT_ROOT, *folders] if DEFAULT_ROOT.is_dir() else folders


def _stamps(report: RunScan, folders: Sequence[Path]) -> Iterator[tuple[bytes, str]]:
    """Each marker once, with its stamp."""
    for folder in folders:
        if not folder.is_dir():
            report.troubles.append((folder, "is no folder any more"))
            continue
        report.searched.append(folder.resolve())
        for marker in find_markers(folder):
            stamp = _stamp(marker)
            if stamp:
                yield os.fsencode(marker), stamp


def _stamp(marker: Path) -> str:
    """Size and time; "" if the file is gone in the meantime."""
    try:
        status = marker.stat()
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def _content(marker: Path) -> str:
    """Hash of a marker's content; "" if it cannot be read."""
    try:
        if not marker.is_file() or marker.stat().st_size > _MOST:
            return ""
        return sha256_file(marker)
    except OSError:
        return ""


def _is_settled(row: sqlite3.Row, stamp: str) -> bool:
    """Whether a run need not be read again."""
    return bool(row["stamp"] == stamp and row["state"] not in _UNSETTLED and not row["missing"])


def _only_ones(lost: Iterable[sqlite3.Row]) -> dict[str, sqlite3.Row]:
    """Runs that are gone by their content, where no other one that is gone has the same."""
    found: dict[str, sqlite3.Row] = {}
    twice: set[str] = {""}
    for row in lost:
        if row["sha256"] in found:
            twice.add(row["sha256"])
        found[row["sha256"]] = row
    return {sha256: row for sha256, row in found.items() if sha256 not in twice}


def _read(marker: Path, stamp: str) -> _Reading:
    from mlx_probe.runs.experiments.read import read_experiment

    sha256 = _content(marker)
    try:
        experiment = read_experiment(marker)
    except ResultError as error:
        return _Reading(marker, stamp, sha256, None, error.fact)
    return _Reading(marker, stamp, sha256, experiment, experiment.reason)


def _save(database: Database, waiting: list[_Reading]) -> None:
    if waiting:
        with database.writing():
            for reading in waiting:
                reading.save(database)
        waiting.clear()


def _tell_catalog(database: Database, markers: Sequence[Path]) -> None:
    """Let `catalog list` know the measurements of its models, too."""
    runs = [run for marker in markers if (run := read_run(marker)) is not None]
    if runs:
        save_runs(database, (), runs, load_models(database))
