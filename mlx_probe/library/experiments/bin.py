"""The bin: run folders that were removed, each still on its disk until the bin is emptied.

A folder is moved by one renaming, between two entries in the catalog. After a kill at any moment
it is either where it was or in the bin, and `settle_bin` corrects the entry by looking.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.models import now
from mlx_probe.library.experiments.needs import Reason, reasons_to_stay, within
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

# Hidden: no scan of runs or models looks into it.
BIN = ".mlx-probe-bin"
# States of an entry: the folder is on its way in, in the bin, on its way out, or being deleted.
_MOVING, _BINNED, _RESTORING, _EMPTYING = "moving", "binned", "restoring", "emptying"


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
    token = uuid.uuid4().hex[:12]
    target = _bin_of(database, folder) / token / folder.name
    with database.writing():
        database.run(
            "INSERT INTO bin VALUES (?, ?, ?, ?, ?, ?)",
            [token, os.fsencode(folder), os.fsencode(target), _MOVING, size, now()],
        )
    try:
        target.parent.mkdir(parents=True)
        _move(database, token, folder, target)
    except OSError as error:
        settle_bin(database)
        raise _refused(f"cannot move {folder} to {target}", error) from error
    return token


def restore_run(database: Database, token: str, target: Path | None = None) -> Path:
    """Move a folder back from the bin; returns where it is.

    Args:
        database: The catalog.
        token: Of the entry.
        target: Where to; None for where it was.

    Raises:
        ResultError: It is gone or half deleted, something is in its place, or the disk refused.
    """
    (entry,) = [each for each in load_bin(database) if each.token == token]
    origin = entry.origin if target is None else Path(os.path.realpath(target))
    if entry.missing or entry.state == _EMPTYING:
        raise ResultError(
            f"{entry.folder} is gone from the bin, or a part of it is",
            "Look for it in a backup; `mlx-probe runs bin --empty` removes the rest",
        )
    if os.path.lexists(origin):
        raise ResultError(
            f"there is something at {origin}", "Move it away, or name another place with --to"
        )
    with database.writing():
        database.run(
            "UPDATE bin SET state = ?, origin = ? WHERE token = ?",
            [_RESTORING, os.fsencode(origin), token],
        )
    try:
        origin.parent.mkdir(parents=True, exist_ok=True)
        _move(database, token, entry.folder, origin)
    except OSError as error:
        settle_bin(database)
        with database.writing():
            database.run(
                "UPDATE bin SET origin = ? WHERE token = ?", [os.fsencode(entry.origin), token]
            )
        raise _refused(f"cannot move {entry.folder} to {origin}", error) from error
    return origin


def load_bin(database: Database) -> list[Binned]:
    """What is in the bin, the newest first."""
    by_token: dict[str, list[StoredRun]] = {}
    for run in load_runs(database, binned=True):
        by_token.setdefault(run.token, []).append(run)
    rows = database.rows("SELECT * FROM bin ORDER BY created_at DESC, token")
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
        with database.writing():
            database.run("UPDATE bin SET state = ? WHERE token = ?", [_EMPTYING, entry.token])
        try:
            if os.path.lexists(entry.folder):
                shutil.rmtree(entry.folder)
            _remove_empty(entry.folder.parent)
        except OSError as error:
            raise _refused(f"cannot delete all of {entry.folder}", error) from error
        with database.writing():
            # Their old place may have another run by now.
            database.run(
                "UPDATE experiments SET token = '', missing = 1 WHERE token = ?", [entry.token]
            )
            database.run("DELETE FROM bin WHERE token = ?", [entry.token])
        freed += entry.size
    return freed


def settle_bin(database: Database) -> None:
    """Correct the entries of what a killed process was moving, by where the folder is."""
    if not database.rows("SELECT 1 FROM bin WHERE state IN (?, ?)", [_MOVING, _RESTORING]):
        return
    # Within a transaction: no other process moves anything meanwhile.
    with database.writing():
        rows = database.rows("SELECT * FROM bin WHERE state IN (?, ?)", [_MOVING, _RESTORING])
        for row in rows:
            origin, folder = (Path(os.fsdecode(row[name])) for name in ("origin", "folder"))
            if os.path.lexists(folder) and row["state"] == _MOVING:
                _arrived(database, row["token"], origin, folder)
            elif os.path.lexists(folder):
                database.run("UPDATE bin SET state = ? WHERE token = ?", [_BINNED, row["token"]])
            elif os.path.lexists(origin):
                _left(database, row["token"], folder, origin)


def _move(database: Database, token: str, source: Path, target: Path) -> None:
    """Rename a folder, and correct its entry; within one transaction, as `settle_bin` is."""
    with database.writing():
        if not database.rows("SELECT 1 FROM bin WHERE token = ?", [token]):
            raise ResultError(
                "another mlx-probe changed the bin at the same time", "Run the command again"
            )
        os.rename(source, target)  # noqa: PTH104  never onto another disk
        if target.parent.name == token:
            _arrived(database, token, source, target)
        else:
            _left(database, token, source, target)


def _arrived(database: Database, token: str, origin: Path, folder: Path) -> None:
    database.run("UPDATE bin SET state = ? WHERE token = ?", [_BINNED, token])
    _moved(database, "", origin, folder, token)


def _left(database: Database, token: str, folder: Path, origin: Path) -> None:
    database.run("DELETE FROM bin WHERE token = ?", [token])
    _moved(database, token, folder, origin, "")
    _remove_empty(folder.parent)


def _moved(database: Database, token: str, source: Path, target: Path, new_token: str) -> None:
    """Let the runs below one folder be below another."""
    rows = database.rows("SELECT number, folder, marker FROM experiments WHERE token = ?", [token])
    for row in rows:
        folder, marker = (Path(os.fsdecode(row[name])) for name in ("folder", "marker"))
        if not within(folder, source):
            continue
        paths = [target / path.relative_to(source) for path in (folder, marker)]
        encoded = [os.fsencode(path) for path in paths]
        # Another run was there meanwhile, and is gone; its note stays under another path.
        database.run(
            "UPDATE experiments SET marker = ?, missing = 1 WHERE marker = ? AND number != ?",
            [b"%s#%d" % (encoded[1], row["number"]), encoded[1], row["number"]],
        )
        database.run(
            "UPDATE experiments SET folder = ?, marker = ?, token = ? WHERE number = ?",
            [*encoded, new_token, row["number"]],
        )


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


def _remove_empty(folder: Path) -> None:
    """Remove the folder of an entry, and the bin itself, where nothing is in them."""
    for each in (folder, folder.parent):
        try:
            each.rmdir()
        except OSError:
            return


def _refused(what: str, error: OSError) -> ResultError:
    return ResultError(
        f"{what}: {error.strerror or error}", "Check the permissions there, and that the disk is on"
    )


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
