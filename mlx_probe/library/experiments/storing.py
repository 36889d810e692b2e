"""Runs in the catalog's database: save, load, tags and notes."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.models import now
from mlx_probe.library.catalog.tags import check_tag
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.runs.experiments.records import Experiment

__all__ = [
    "add_run_tags",
    "forget_runs",
    "load_runs",
    "remove_run_tags",
    "save_damaged",
    "save_experiment",
    "set_run_note",
]

# Roles of inputs that are no models.
_NO_MODELS = ("data",)
_UNKNOWN = "unknown"


def load_runs(database: Database, binned: bool | None = False) -> list[StoredRun]:
    """The runs of the catalog, the newest first.

    Args:
        database: The catalog.
        binned: Whether to give those in the bin instead of the others; None for all.
    """
    tags: dict[int, list[str]] = {}
    for row in database.rows("SELECT number, tag FROM experiment_tags ORDER BY tag"):
        tags.setdefault(row["number"], []).append(row["tag"])
    rows = database.rows(
        "SELECT * FROM experiments WHERE ? IS NULL OR (token != '') = ? "
        "ORDER BY created_at DESC, number DESC",
        [binned, binned],
    )
    try:
        return [_stored(row, tags.get(row["number"], ())) for row in rows]
    except TypeError as error:
        raise database.damaged(error) from error


def save_experiment(
    database: Database, number: int | None, experiment: Experiment, stamp: str, sha256: str
) -> int:
    """Save what was read of a run; the user's note and tags stay.

    Args:
        database: The catalog, within `Database.writing`.
        number: The run's row; None for a new one.
        experiment: The run.
        stamp: Of its marker; while it is the same, a finished run need not be read again.
        sha256: Of its marker's content.

    Returns:
        The run's row.
    """
    facts = {
        "inputs": [asdict(given) for given in experiment.inputs],
        "outputs": list(experiment.outputs),
        "version": experiment.version,
        "code": experiment.code,
        "command": list(experiment.command),
        "working_folder": experiment.working_folder,
    }
    names = [given.name for given in experiment.inputs if given.role not in _NO_MODELS]
    return _save(
        database,
        number,
        experiment.marker,
        {
            "folder": os.fsencode(experiment.folder),
            "stamp": stamp,
            "sha256": sha256,
            "kind": experiment.kind,
            "state": experiment.state,
            "reason": experiment.reason,
            "created_at": experiment.created_at,
            "seconds": experiment.seconds,
            "models": ", ".join(dict.fromkeys(filter(None, names))),
            "config": json.dumps(dict(experiment.config)),
            "metrics": json.dumps(dict(experiment.metrics), allow_nan=False),
            "facts": json.dumps(facts),
        },
    )


def save_damaged(
    database: Database, number: int | None, marker: Path, stamp: str, sha256: str, reason: str
) -> int:
    """Save that a run cannot be read; what is known of it from before stays.

    Args:
        database: The catalog, within `Database.writing`.
        number: The run's row; None for a new one.
        marker: The file by which it was recognised.
        stamp: As for `save_experiment`.
        sha256: The same; "" if it cannot be read at all.
        reason: Why.
    """
    values: dict[str, Any] = {
        "folder": os.fsencode(marker.parent),
        "stamp": stamp,
        "sha256": sha256,
        "state": "damaged",
        "reason": reason,
    }
    if number is None:
        unknown = {"kind": _UNKNOWN, "created_at": "", "seconds": None, "models": ""}
        values |= {**unknown, "config": "{}", "metrics": "{}", "facts": "{}"}
    return _save(database, number, marker, values)


def _save(database: Database, number: int | None, marker: Path, values: dict[str, Any]) -> int:
    texts = {name: _utf8(value) for name, value in values.items() if isinstance(value, str)}
    values = {**values, **texts, "marker": os.fsencode(marker), "missing": 0}
    if number is None:
        values |= {"id": _new_id(database, values["marker"]), "found_at": now()}
        holes = ", ".join("?" * len(values))
        # Another process may have found it too; its row is as good as this one.
        database.run(
            f"INSERT OR IGNORE INTO experiments ({', '.join(values)}) VALUES ({holes})",
            list(values.values()),
        )
        rows = database.rows("SELECT number FROM experiments WHERE marker = ?", [values["marker"]])
        return int(rows[0]["number"])
    given = ", ".join(f"{name} = ?" for name in values)
    database.run(f"UPDATE experiments SET {given} WHERE number = ?", [*values.values(), number])
    return number


def _utf8(text: str) -> str:
    """Text that the database takes: names in metadata may hold any characters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _new_id(database: Database, marker: bytes) -> str:
    """From the path, so that a new catalog gives the same; another where a moved run has it."""
    attempt = 0
    while True:
        suffix = b"" if not attempt else f"#{attempt}".encode()
        name = hashlib.sha256(marker + suffix).hexdigest()[:12]
        if not database.rows("SELECT 1 FROM experiments WHERE id = ?", [name]):
            return name
        attempt += 1


def add_run_tags(database: Database, runs: Iterable[StoredRun], tags: Sequence[str]) -> None:
    """Add tags to runs; those that they have stay.

    Raises:
        ConfigError: A tag is not one printable word.
    """
    for tag in tags:
        check_tag(tag)
    pairs = [(run.number, tag) for run in runs for tag in tags]
    with database.writing():
        database.run_many("INSERT OR IGNORE INTO experiment_tags VALUES (?, ?)", pairs)


def remove_run_tags(database: Database, runs: Sequence[StoredRun], tags: Iterable[str]) -> None:
    """Remove tags from runs.

    Raises:
        ConfigError: None of the runs has one of them.
    """
    with database.writing():
        for tag in tags:
            if not any(tag in run.tags for run in runs):
                known = sorted({tag for run in runs for tag in run.tags})
                raise ConfigError(
                    f"no run here has the tag {tag!r}", f"They have {', '.join(known) or 'none'}"
                )
            pairs = [(run.number, tag) for run in runs]
            database.run_many("DELETE FROM experiment_tags WHERE number = ? AND tag = ?", pairs)


def forget_runs(
    database: Database, runs: Iterable[StoredRun], folders: Iterable[Path] = ()
) -> None:
    """Remove runs with their notes and tags from the catalog; their files stay.

    Args:
        database: The catalog.
        runs: The runs.
        folders: Folders that later scans do not search any more.

    Raises:
        ConfigError: A folder is not among those that scans search.
    """
    with database.writing():
        for folder in folders:
            path = os.fsencode(os.path.realpath(folder))
            if not database.run("DELETE FROM run_folders WHERE path = ?", [path]):
                rows = database.rows("SELECT path FROM run_folders")
                known = ", ".join(os.fsdecode(row["path"]) for row in rows)
                raise ConfigError(
                    f"{folder} is not among the folders that scans look through",
                    f"These are {known}" if known else "There are none",
                )
        numbers = [[run.number] for run in runs]
        database.run_many("DELETE FROM experiments WHERE number = ?", numbers)


def set_run_note(database: Database, run: StoredRun, note: str) -> None:
    """Write the note of a run; an empty one removes it."""
    with database.writing():
        database.run("UPDATE experiments SET note = ? WHERE number = ?", [note, run.number])


def _stored(row: sqlite3.Row, tags: Sequence[str]) -> StoredRun:
    return StoredRun(
        number=row["number"],
        id=row["id"],
        encoded_folder=_bytes(row["folder"]),
        encoded_marker=_bytes(row["marker"]),
        kind=row["kind"],
        state=row["state"],
        reason=row["reason"],
        created_at=row["created_at"],
        seconds=row["seconds"],
        models=row["models"],
        config_json=row["config"],
        metrics_json=row["metrics"],
        facts_json=row["facts"],
        missing=bool(row["missing"]),
        token=row["token"],
        found_at=row["found_at"],
        note=row["note"],
        tags=tuple(tags),
    )


def _bytes(value: object) -> bytes:
    """A path of the catalog; a damaged file may have anything there."""
    if not isinstance(value, bytes):
        raise TypeError(f"{str(value)[:80]!r} is no path")
    return value
