"""The bin: run folders that were removed, each still on its disk until the bin is emptied."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments.moving import (
    BIN,
    delete_entry,
    move_in,
    restore_run,
    settle_bin,
    within,
)
from mlx_probe.library.experiments.needs import Reason, reasons_to_stay
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.library.experiments.scanning import remembered_run_folders
from mlx_probe.library.experiments.storing import load_runs
from mlx_probe.runs.folder import DEFAULT_ROOT

__all__ = [
    "BIN",
    "Binned",
    "Removal",
    "empty_bin",
    "find_binned",
    "load_bin",
    "plan_removal",
    "remove_run",
    "restore_run",
    "settle_bin",
]


@dataclass(frozen=True)
class Binned:
    """A folder in the bin.

    Attributes:
        token: Its name in the bin.
        origin: Where it was.
        folder: Where it is.
        state: "binned", or "emptying" where a deletion was interrupted.
        size: Bytes of its files.
        created_at: When it was removed, ISO 8601.
        runs: The runs in it.
        missing: Whether it is gone from the bin.
    """

    token: str
    origin: Path
    folder: Path
    state: str
    size: int
    created_at: str
    runs: tuple[StoredRun, ...]
    missing: bool


@dataclass(frozen=True)
class Removal:
    """What removing a run would do.

    Attributes:
        run: The run.
        folder: The folder that would be moved.
        size: Bytes of its files.
        parts: Other runs that lie in it.
        reasons: Why it may not be done; empty if it may.
    """

    run: StoredRun
    folder: Path
    size: int
    parts: tuple[StoredRun, ...]
    reasons: tuple[Reason, ...]


def plan_removal(database: Database, runs: Sequence[StoredRun]) -> list[Removal]:
    """What removing some runs would do; each folder comes once.

    Args:
        database: The catalog.
        runs: Runs of the catalog.
    """
    every = load_runs(database)
    folders = list(dict.fromkeys(run.folder for run in runs))
    # A folder inside of another one goes with it.
    outer = [
        folder
        for folder in folders
        if not any(other != folder and within(folder, other) for other in folders)
    ]
    plans = []
    for folder in outer:
        run = next(run for run in runs if run.folder == folder)
        inside = [each for each in every if within(each.folder, folder)]
        reasons = reasons_to_stay(database, every, folder, folders)
        if not folder.is_dir():
            reasons = [Reason(f"there is no {folder}")]
        plans.append(
            Removal(
                run=run,
                folder=folder,
                size=_size(folder),
                parts=tuple(each for each in inside if each.number != run.number),
                reasons=tuple(reasons),
            )
        )
    return plans


def remove_run(database: Database, folder: Path, size: int = 0) -> str:
    """Move a run folder to the bin on its disk; returns its token there.

    Args:
        database: The catalog.
        folder: The run folder; `plan_removal` has said that it may go.
        size: Bytes of its files, for the list.

    Raises:
        ResultError: The disk refused; the folder is where it was.
    """
    return move_in(database, folder, _bin_of(database, folder), size)


def load_bin(database: Database) -> list[Binned]:
    """The runs in the bin, the newest first; not what `catalog space` removed."""
    by_token: dict[str, list[StoredRun]] = {}
    for run in load_runs(database, binned=True):
        by_token.setdefault(run.token, []).append(run)
    rows = database.rows(
        "SELECT * FROM bin WHERE token NOT IN (SELECT token FROM removals) "
        "ORDER BY created_at DESC, token"
    )
    return [
        Binned(
            token=row["token"],
            origin=Path(os.fsdecode(row["origin"])),
            folder=(folder := Path(os.fsdecode(row["folder"]))),
            state=row["state"],
            size=row["size"],
            created_at=row["created_at"],
            runs=tuple(by_token.get(row["token"], ())),
            missing=not os.path.lexists(folder),
        )
        for row in rows
    ]


def empty_bin(database: Database, entries: Iterable[Binned]) -> int:
    """Delete folders of the bin for good; returns the bytes that were freed.

    What is known of the runs stays in the catalog; they are marked as gone.

    Raises:
        ResultError: The disk refused; what is left of the folder stays in the bin.
    """
    freed = 0
    for entry in entries:
        delete_entry(database, entry.token, entry.folder)
        freed += entry.size
    return freed


def _bin_of(database: Database, folder: Path) -> Path:
    """The bin for a run folder: in the nearest scanned folder above it, on the same disk."""
    roots = [Path(os.path.realpath(DEFAULT_ROOT)), *remembered_run_folders(database)]
    above = [root for root in roots if root != folder and within(folder, root)]
    device = folder.parent.stat().st_dev if folder.parent.exists() else None
    for root in sorted(above, key=lambda root: len(root.parts), reverse=True):
        if root.exists() and root.stat().st_dev == device:
            return root / BIN
    return folder.parent / BIN


def _size(folder: Path) -> int:
    total = 0
    for current, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(Path(current, file)).st_size
            except OSError:
                continue
    return total


def find_binned(database: Database, reference: str) -> Binned:
    """The entry of the bin that a user means by a run's id or name, or its token.

    Raises:
        ConfigError: None is meant, or several.
    """
    entries = load_bin(database)
    for matches in (
        [each for each in entries if reference == each.token],
        [e for e in entries if any(reference == run.id for run in e.runs)],
        [
            e
            for e in entries
            if len(reference) >= 4 and any(run.id.startswith(reference.lower()) for run in e.runs)
        ],
        [e for e in entries if reference in (e.origin.name, str(e.origin))],
        [e for e in entries if os.path.realpath(reference) == str(e.origin)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ConfigError(
                f"{reference!r} means {len(matches)} folders in the bin",
                "Name one of them by the id of its run",
            )
    raise ConfigError(f"there is no {reference!r} in the bin", "See `mlx-probe runs bin`")
