"""Models in the database: save, load, find, note, tag, forget."""

from __future__ import annotations

import difflib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.records import Analysis, Model, ModelFile
from mlx_probe.library.catalog.tags import check_tag

__all__ = [
    "add_tags",
    "find_model",
    "forget",
    "load_models",
    "now",
    "remove_tags",
    "save_model",
    "set_missing",
    "set_note",
]


def now() -> str:
    """This moment in UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def save_model(database: Database, model: Model, stamp: str) -> None:
    """Save what was read of a model; the user's note and tags stay, and so do known hashes.

    Args:
        database: The catalog, within `Database.writing`.
        model: The model.
        stamp: From `stamp_of`; while it is the same, the model need not be read again.
    """
    values = {
        "key": model.key,
        "store": model.store,
        "id": model.id,
        "revision": model.revision,
        "path": os.fsencode(model.path),
        "place": os.fsencode(model.location),
        "stamp": stamp,
        "format": model.format,
        "architecture": model.architecture,
        "shape": json.dumps(dict(model.shape)),
        "parameters": model.parameters,
        "dtypes": json.dumps(dict(model.dtypes)),
        "bits": model.bits,
        "size": model.size,
        "licence": model.licence,
        "url": model.url,
        "base_models": json.dumps(list(model.base_models)),
        "adapter": model.adapter,
        "description": model.description,
        "problem": model.problem,
        "missing": 0,
        "found_at": model.found_at or now(),
        "modified_at": model.modified_at,
    }
    names = ", ".join(values)
    holes = ", ".join("?" * len(values))
    fresh = ", ".join(f"{n} = excluded.{n}" for n in values if n not in ("key", "found_at"))
    database.run(
        f"INSERT INTO models ({names}) VALUES ({holes}) ON CONFLICT (key) DO UPDATE SET {fresh}",
        list(values.values()),
    )
    known = {
        (row["path"], row["size"], row["mtime_ns"]): row["sha256"]
        for row in database.rows("SELECT * FROM files WHERE key = ?", [model.key])
    }
    database.run("DELETE FROM files WHERE key = ?", [model.key])
    for file in model.files:
        path = os.fsencode(file.path)
        sha256 = file.sha256 or known.get((path, file.size, file.mtime_ns), "")
        database.run(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
            [model.key, path, file.role, file.size, file.mtime_ns, sha256],
        )


def load_models(database: Database) -> list[Model]:
    """Every model of the catalog with all that is known about it, sorted by name.

    Raises:
        ResultError: The file is damaged.
    """
    files: dict[str, list[ModelFile]] = {}
    tags: dict[str, list[str]] = {}
    runs: dict[str, list[Analysis]] = {}
    try:
        for row in database.rows("SELECT * FROM files ORDER BY rowid"):
            file = ModelFile(
                _path(row["path"]), row["role"], row["size"], row["mtime_ns"], row["sha256"]
            )
            files.setdefault(row["key"], []).append(file)
        for row in database.rows("SELECT * FROM tags ORDER BY tag"):
            tags.setdefault(row["key"], []).append(row["tag"])
        for row in database.rows(
            "SELECT key, runs.* FROM analyses JOIN runs USING (path) ORDER BY created_at DESC"
        ):
            run = Analysis(
                _path(row["path"]), row["kind"], row["created_at"], _mapping(row["facts"])
            )
            runs.setdefault(row["key"], []).append(run)
        return [
            _model(
                row, files.get(row["key"], ()), tags.get(row["key"], ()), runs.get(row["key"], ())
            )
            for row in database.rows("SELECT * FROM models ORDER BY id COLLATE NOCASE, key")
        ]
    except (AttributeError, IndexError, TypeError, ValueError, sqlite3.Error) as error:
        raise database.damaged(error) from error


def find_model(models: Sequence[Model], text: str) -> Model:
    """The model that a user means.

    Args:
        models: All models of the catalog.
        text: A name, a key, the beginning of either, or a path of the model.

    Raises:
        ConfigError: No model matches, or several do and none exactly.
    """
    # Not by `Path.expanduser`, which raises an error for "~nobody".
    path = Path(os.path.expanduser(text)).absolute()  # noqa: PTH111
    tests: tuple[Callable[[Model], bool], ...] = (
        lambda m: text in (m.key, m.id),
        lambda m: path in (m.path, m.location),
        lambda m: len(text) >= 3 and m.key.startswith(text.lower()),
        lambda m: m.id.lower().startswith(text.lower()) if text else False,
        lambda m: text.lower() in m.id.lower() if text else False,
    )
    for test in tests:
        matches = [model for model in models if test(model)]
        # A model that exists wins over missing ones.
        present = [model for model in matches if not model.missing]
        if len(matches) == 1 or len(present) == 1:
            return (present or matches)[0]
        if matches:
            raise ConfigError(
                f"{text!r} means {len(matches)} models: {_names(matches)}",
                "Name one of them by its key",
            )
    near = difflib.get_close_matches(text, [name for m in models for name in (m.id, m.key)], n=3)
    if near:
        remedy = f"Did you mean {' or '.join(near)}?"
    elif models:
        remedy = "See `mlx-probe catalog list`"
    else:
        remedy = "Run `mlx-probe catalog scan` first: the catalog is empty"
    raise ConfigError(f"no model {text!r} in the catalog", remedy)


def set_note(database: Database, model: Model, note: str) -> None:
    """Replace the user's note; an empty one removes it."""
    database.run("UPDATE models SET note = ? WHERE key = ?", [note, model.key])


def add_tags(database: Database, model: Model, tags: Iterable[str]) -> None:
    """Add tags to a model; those that it has stay.

    Raises:
        ConfigError: A tag is not one printable word.
    """
    with database.writing():
        for tag in tags:
            check_tag(tag)
            database.run("INSERT OR IGNORE INTO tags VALUES (?, ?)", [model.key, tag])


def remove_tags(database: Database, model: Model, tags: Iterable[str]) -> None:
    """Remove tags from a model.

    Raises:
        ConfigError: The model does not have one of them.
    """
    with database.writing():
        for tag in tags:
            if not database.run("DELETE FROM tags WHERE (key, tag) = (?, ?)", [model.key, tag]):
                raise ConfigError(
                    f"{model.id} has no tag {tag!r}", f"It has {', '.join(model.tags) or 'none'}"
                )


def set_missing(database: Database, keys: Iterable[str]) -> None:
    """Mark models whose files are gone; within `Database.writing`."""
    for key in keys:
        database.run("UPDATE models SET missing = 1 WHERE key = ?", [key])


def forget(database: Database, models: Iterable[Model], folders: Iterable[Path] = ()) -> None:
    """Remove models with their notes and tags from the catalog; their files stay.

    Args:
        database: The catalog.
        models: The models.
        folders: Folders that later scans do not search any more.

    Raises:
        ConfigError: A folder is not among those that scans search.
    """
    with database.writing():
        for folder in folders:
            path = os.fsencode(folder.absolute())
            if not database.run("DELETE FROM folders WHERE path = ?", [path]):
                known = ", ".join(
                    os.fsdecode(row["path"]) for row in database.rows("SELECT path FROM folders")
                )
                raise ConfigError(
                    f"{folder} is not among the folders that scans look through",
                    f"These are {known}" if known else "There are none",
                )
        for model in models:
            database.run("DELETE FROM models WHERE key = ?", [model.key])


def _model(row: sqlite3.Row, files: Any, tags: Any, runs: Any) -> Model:
    return Model(
        key=row["key"],
        store=row["store"],
        id=row["id"],
        revision=row["revision"],
        path=_path(row["path"]),
        location=_path(row["place"]),
        format=row["format"],
        architecture=row["architecture"],
        shape=_mapping(row["shape"]),
        parameters=row["parameters"],
        dtypes=_mapping(row["dtypes"]),
        bits=row["bits"],
        size=row["size"],
        licence=row["licence"],
        url=row["url"],
        base_models=tuple(map(str, json.loads(row["base_models"]))),
        adapter=row["adapter"],
        description=row["description"],
        problem=row["problem"],
        missing=bool(row["missing"]),
        found_at=row["found_at"],
        modified_at=row["modified_at"],
        note=row["note"],
        tags=tuple(tags),
        files=tuple(files),
        analyses=tuple(runs),
    )


def _path(stored: bytes) -> Path:
    return Path(os.fsdecode(stored))


def _mapping(stored: str) -> dict[str, Any]:
    value = json.loads(stored)
    if not isinstance(value, dict):
        raise ValueError(f"{stored[:80]!r} is no JSON object")
    return value


def _names(models: Sequence[Model]) -> str:
    names = ", ".join(f"{model.key[:8]} {model.id}" for model in models[:6])
    return f"{names} and {len(models) - 6} more" if len(models) > 6 else names
