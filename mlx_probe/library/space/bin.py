"""The bin of `catalog space`: what was removed, brought back or deleted for good."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ProbeError
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.lock import alone
from mlx_probe.library.experiments.moving import (
    delete_entry,
    restore_run,
    settle_bin,
)
from mlx_probe.library.space.records import Moved

__all__ = ["Batch", "batches", "binned_bytes", "empty_batches", "find_batches", "restore_batch"]

_ENTRIES = """
SELECT removals.*, bin.origin, bin.folder, bin.state, bin.size, bin.created_at
FROM removals JOIN bin USING (token) ORDER BY removals.number
"""


@dataclass(frozen=True)
class Batch:
    """What one command removed.

    Attributes:
        id: Its name.
        created_at: When, ISO 8601.
        kinds: What kinds.
        tokens: Its entries in the bin, in the order of moving.
        size: Bytes that deleting it frees.
    """

    id: str
    created_at: str
    kinds: tuple[str, ...]
    tokens: tuple[str, ...]
    size: int


def batches(database: Database) -> list[Batch]:
    """What is in the bins of `catalog space`, the oldest first."""
    rows: dict[str, list[sqlite3.Row]] = {}
    for row in database.rows(_ENTRIES):
        rows.setdefault(row["batch"], []).append(row)
    return [
        Batch(
            id=name,
            created_at=entries[0]["created_at"],
            kinds=tuple(dict.fromkeys(each["kind"] for each in entries)),
            tokens=tuple(each["token"] for each in entries),
            size=sum(each["size"] for each in entries),
        )
        for name, entries in rows.items()
    ]


def find_batches(database: Database, names: Sequence[str]) -> list[Batch]:
    """The batches that a user means; all of them for no name.

    Raises:
        ConfigError: One of them is not there.
    """
    known = batches(database)
    if not names:
        return known
    for name in names:
        if not any(batch.id == name for batch in known):
            listed = ", ".join(batch.id for batch in known) or "empty"
            raise ConfigError(f"there is no batch {name!r} in the bin", f"The bin has: {listed}")
    return [batch for batch in known if batch.id in names]


def restore_batch(database: Database, batch: Batch) -> Moved:
    """Move what a command removed back to where it was.

    Args:
        database: The catalog.
        batch: From `batches`.

    Raises:
        ResultError: Another process changes files of this catalog, or the catalog cannot be
            written.
    """
    done = Moved(batch.id)
    with alone(database.path):
        settle_bin(database)
        entries = {row["token"]: row for row in database.rows(_ENTRIES)}
        # What others lead to comes first.
        for token in reversed(batch.tokens):
            if token not in entries:
                continue
            origin = Path(os.fsdecode(entries[token]["origin"]))
            try:
                restore_run(database, token)
            except ProbeError as error:
                done.skipped.append((origin, error.fact))
            else:
                done.paths.append(origin)
                done.size += entries[token]["size"]
    return done


def empty_batches(database: Database, chosen: Sequence[Batch]) -> Moved:
    """Delete what was removed for good.

    Args:
        database: The catalog.
        chosen: From `batches`.

    Raises:
        ResultError: Another process changes files of this catalog, or the catalog cannot be
            written.
    """
    done = Moved()
    with alone(database.path):
        settle_bin(database)
        entries = {row["token"]: row for row in database.rows(_ENTRIES)}
        for token in (token for batch in chosen for token in batch.tokens if token in entries):
            folder = Path(os.fsdecode(entries[token]["folder"]))
            try:
                delete_entry(database, token, folder)
            except ProbeError as error:
                done.skipped.append((folder, error.fact))
            else:
                done.paths.append(Path(os.fsdecode(entries[token]["origin"])))
                done.size += entries[token]["size"]
    return done


def binned_bytes(database: Database) -> dict[str, int]:
    """Bytes in the bins by batch; "" for the bin of runs."""
    found = {batch.id: batch.size for batch in batches(database)}
    rows = database.rows(
        "SELECT count(*), total(size) FROM bin WHERE token NOT IN (SELECT token FROM removals)"
    )
    return {**found, "": int(rows[0][1])} if rows[0][0] else found
