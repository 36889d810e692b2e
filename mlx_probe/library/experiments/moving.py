"""Moves files and folders into bins and out of them, each by one renaming.

An entry in the catalog is written before and corrected after. After a kill at any moment a folder
is either where it was or in the bin, and `settle_bin` corrects the entry by looking.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.models import now

__all__ = ["BIN", "delete_entry", "move_in", "restore_run", "settle_bin", "within"]

# Hidden: no scan of runs or models looks into it.
BIN = ".mlx-probe-bin"
# States of an entry: the folder is on its way in, in the bin, on its way out, or being deleted.
_MOVING, _BINNED, _RESTORING, _EMPTYING = "moving", "binned", "restoring", "emptying"


def move_in(
    database: Database,
    path: Path,
    place: Path,
    size: int = 0,
    removal: tuple[str, str] | None = None,
) -> str:
    """Move a file, link or folder to a bin; returns its token there.

    Args:
        database: The catalog.
        path: What to move.
        place: The bin, on the same disk.
        size: Bytes, for the list.
        removal: Batch and kind of what `catalog space` removes; None for a run.

    Raises:
        ResultError: The disk refused; it is where it was.
    """
    token = uuid.uuid4().hex[:12]
    target = place / token / path.name
    with database.writing():
        database.run(
            "INSERT INTO bin VALUES (?, ?, ?, ?, ?, ?)",
            [token, os.fsencode(path), os.fsencode(target), _MOVING, size, now()],
        )
        if removal is not None:
            database.run(
                "INSERT INTO removals (token, batch, kind) VALUES (?, ?, ?)", [token, *removal]
            )
    try:
        target.parent.mkdir(parents=True)
        _move(database, token, path, target)
    except OSError as error:
        settle_bin(database)
        raise _refused(f"cannot move {path} to {target}", error) from error
    return token


def restore_run(database: Database, token: str, target: Path | None = None) -> Path:
    """Move a file or folder back from the bin; returns where it is.

    Args:
        database: The catalog.
        token: Of the entry.
        target: Where to; None for where it was.

    Raises:
        ResultError: It is gone or half deleted, something is in its place, or the disk refused.
    """
    (entry,) = database.rows("SELECT * FROM bin WHERE token = ?", [token])
    folder, before = (Path(os.fsdecode(entry[name])) for name in ("folder", "origin"))
    origin = before if target is None else Path(os.path.realpath(target))
    if not os.path.lexists(folder) or entry["state"] == _EMPTYING:
        raise ResultError(
            f"{folder} is gone from the bin, or a part of it is",
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
        _move(database, token, folder, origin)
    except OSError as error:
        settle_bin(database)
        with database.writing():
            database.run("UPDATE bin SET origin = ? WHERE token = ?", [entry["origin"], token])
        raise _refused(f"cannot move {folder} to {origin}", error) from error
    return origin


def delete_entry(database: Database, token: str, folder: Path) -> None:
    """Delete an entry of the bin for good, and the file or folder that it is about.

    Args:
        database: The catalog.
        token: Of the entry.
        folder: What lies in the bin.

    Raises:
        ResultError: The disk refused; what is left of it stays in the bin.
    """
    with database.writing():
        database.run("UPDATE bin SET state = ? WHERE token = ?", [_EMPTYING, token])
    try:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
        _remove_empty(folder.parent)
    except OSError as error:
        raise _refused(f"cannot delete all of {folder}", error) from error
    with database.writing():
        # Their old place may have another run by now.
        database.run("UPDATE experiments SET token = '', missing = 1 WHERE token = ?", [token])
        database.run("DELETE FROM bin WHERE token = ?", [token])


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


def within(path: str | Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it; both absolute."""
    return Path(path) == folder or folder in Path(path).parents
