"""Finished runs below a folder, and the models that they measured."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.records import Analysis, Model
from mlx_probe.runs.folder import DEFAULT_STEM, meta_name
from mlx_probe.runs.meta import read_run_meta

__all__ = ["StoredRun", "find_metas", "find_runs", "known_metas", "read_run", "save_runs"]

# Bytes. Real metadata has a few hundred kilobytes.
_MOST = 64 << 20
_NUMBERS = {
    "gbps": "mean_gbps",
    "peak_memory": "peak_process_memory",
    "peak_device_memory": "peak_device_memory",
    "bytes_read": "bytes_read",
}


@dataclass(frozen=True)
class StoredRun:
    """A finished run on the disk.

    Attributes:
        analysis: Facts of the run.
        weights: Real paths of the weight files that the run read.
        models: Id and revision of each model that the run read.
    """

    analysis: Analysis
    weights: frozenset[str]
    models: tuple[tuple[str, str], ...]


def find_runs(folder: Path) -> Iterator[StoredRun]:
    """Every finished run in a folder and below it; damaged runs are skipped.

    Args:
        folder: For instance data/outputs; it need not exist.
    """
    for path in find_metas(folder):
        run = read_run(path)
        if run is not None:
            yield run


def find_metas(folder: Path) -> Iterator[Path]:
    """The metadata files in a folder and below it, with absolute paths.

    Args:
        folder: For instance data/outputs; it need not exist.
    """
    name = meta_name(DEFAULT_STEM)
    # Links to folders are not followed: they may form circles. Unreadable folders are skipped.
    for current, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for file in sorted(files):
            if file == name or file.endswith(f".{name}"):
                # Absolute: the catalog is used from any folder.
                yield Path(os.path.realpath(current)) / file


def known_metas(database: Database) -> list[Path]:
    """The metadata files of the runs that the catalog knows and that are still there."""
    paths = (Path(os.fsdecode(row["path"])) for row in database.rows("SELECT path FROM runs"))
    return sorted(path for path in paths if path.is_file())


def save_runs(
    database: Database, folders: Iterable[Path], runs: Sequence[StoredRun], models: Sequence[Model]
) -> None:
    """Save the runs of some folders, and which models they measured.

    Args:
        database: The catalog.
        folders: Folders that were searched: a known run below them that is not in ``runs`` is
            removed.
        runs: The runs in these folders.
        models: All models of the catalog.
    """
    by_path: dict[str, set[str]] = {}
    by_name: dict[tuple[str, str], set[str]] = {}
    for model in models:
        for file in model.weights:
            by_path.setdefault(os.path.realpath(file.path), set()).add(model.key)
        # Many models have the revision "local", and a folder's name does not identify one.
        if model.revision != "local":
            by_name.setdefault((model.id, model.revision), set()).add(model.key)
    roots = [os.path.realpath(folder) for folder in folders]
    with database.writing():
        for row in database.rows("SELECT path FROM runs"):
            known = os.fsdecode(row["path"])
            within = any(os.path.commonpath([root, known]) == root for root in roots)
            if within or not os.path.lexists(known):
                database.run("DELETE FROM runs WHERE path = ?", [row["path"]])
        for run in runs:
            analysis, path = run.analysis, os.fsencode(run.analysis.path)
            database.run(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)",
                [path, analysis.kind, analysis.created_at, json.dumps(dict(analysis.facts))],
            )
            keys = {key for weights in run.weights for key in by_path.get(weights, ())}
            keys |= {key for name in run.models for key in by_name.get(name, ())}
            for key in sorted(keys):
                # Another process may have removed the model meanwhile.
                database.run(
                    "INSERT OR IGNORE INTO analyses SELECT key, ? FROM models WHERE key = ?",
                    [path, key],
                )


def read_run(path: Path) -> StoredRun | None:
    """A finished run of `analyze` or `compare`; None for any other, and for a damaged one.

    Args:
        path: Its metadata file.
    """
    try:
        # Not a pipe: opening one would wait.
        if not path.is_file() or path.stat().st_size > _MOST:
            return None
        meta = read_run_meta(path)
    except (OSError, ResultError, RecursionError):
        return None
    created = meta.get("created_at")
    kind = "compare" if meta.get("kind") == "compare" else "analyze"
    models = [meta.get("model")]
    if kind == "compare" and isinstance(meta.get("models"), dict):
        models = list(meta["models"].values())
    described = [model for model in models if isinstance(model, dict)]
    if not isinstance(created, str) or not described:
        return None
    weights = {
        os.path.realpath(file)
        for model in described
        for file in _list(model.get("weights"))
        if isinstance(file, str) and "\0" not in file
    }
    names = tuple((str(m.get("id")), str(m.get("revision"))) for m in described)
    return StoredRun(Analysis(path, kind, created[:40], _facts(meta)), frozenset(weights), names)


def _facts(meta: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: meta[key] for name, key in _NUMBERS.items() if _is_number(meta.get(key))
    }
    seconds = meta.get("seconds")
    if isinstance(seconds, dict):
        # The other entries are sums over workers and are part of these.
        stages = [seconds.get(name) for name in ("open", "measure", "validate", "write")]
        known = [value for value in stages if _is_number(value)]
        if known:
            facts["seconds"] = sum(known)
    total = meta.get("total")
    if isinstance(total, dict):
        # Of all starts of a run that was resumed; what is above is of the last one.
        known_total = {name: total.get(name) for name in ("seconds", "bytes_read")}
        facts |= {name: value for name, value in known_total.items() if _is_number(value)}
    for name in ("backend", "device"):
        if isinstance(meta.get(name), str):
            facts[name] = meta[name][:80]
    validation = meta.get("validation")
    if isinstance(validation, dict) and isinstance(validation.get("passed"), bool):
        facts["passed"] = validation["passed"]
    return facts


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
