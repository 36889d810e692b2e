"""The journal of links: each replacement is written down before it happens."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlx_probe.library.catalog.database import Database
from mlx_probe.library.catalog.models import now

__all__ = ["JOURNAL_STATES", "Link", "State", "load_links", "plan_link", "set_state"]

# planned: about to be replaced; after a crash it is reverted. linked: the link is correct, the old
# file may be removed. done: only the link is left. undoing: becoming a separate file again.
# undone: a separate file again.
State = Literal["planned", "linked", "done", "undoing", "undone"]
JOURNAL_STATES: tuple[State, ...] = ("planned", "linked", "done", "undoing", "undone")


@dataclass(frozen=True)
class Link:
    """A path that was, is or will be a link to another file of the same content.

    Attributes:
        number: Position in the order of planning.
        batch: Id of the command.
        token: Part of the names of the temporary files.
        state: See `State`.
        path: Real path of the copy.
        keeper: Real path of the file that stays.
        symbolic: Whether the link is symbolic.
        sha256: Hash of the content.
        size: Bytes of the content.
        mode: Permission bits of the copy.
        mtime_ns: Time of the last write to the copy.
        atime_ns: Time of the last read of the copy.
        created_at: When the link was planned, ISO 8601.
    """

    number: int
    batch: str
    token: str
    state: State
    path: Path
    keeper: Path
    symbolic: bool
    sha256: str
    size: int
    mode: int
    mtime_ns: int
    atime_ns: int
    created_at: str

    # Short new names: the file's own name may be too long for a suffix.
    @property
    def backup(self) -> Path:
        """Second name of the copy while it is replaced."""
        return self.path.with_name(f".mlx-probe-{self.token}.old")

    @property
    def fresh(self) -> Path:
        """What will replace the path: the link, or the separate file."""
        return self.path.with_name(f".mlx-probe-{self.token}.new")


def plan_link(
    database: Database,
    batch: str,
    path: Path,
    keeper: Path,
    symbolic: bool,
    sha256: str,
    status: os.stat_result,
) -> Link:
    """Write down that a path is about to be replaced.

    Args:
        database: The catalog.
        batch: Id of the command.
        path: Real path of the copy.
        keeper: Real path of the file that stays.
        symbolic: Whether the link is symbolic.
        sha256: Hash of both files.
        status: Status of the copy.
    """
    link = Link(
        number=0,
        batch=batch,
        token=secrets.token_hex(8),
        state="planned",
        path=path,
        keeper=keeper,
        symbolic=symbolic,
        sha256=sha256,
        size=status.st_size,
        mode=status.st_mode & 0o7777,
        mtime_ns=status.st_mtime_ns,
        atime_ns=status.st_atime_ns,
        created_at=now(),
    )
    database.run(
        "INSERT INTO links (batch, token, state, path, keeper, symbolic, sha256, size, mode,"
        " mtime_ns, atime_ns, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(link.batch, link.token, link.state, os.fsencode(path), os.fsencode(keeper)),
            *(int(symbolic), sha256, link.size, link.mode, link.mtime_ns, link.atime_ns),
            link.created_at,
        ],
    )
    return link


def set_state(database: Database, link: Link, state: State | None) -> None:
    """Write down the state of a link; None removes the link from the journal."""
    if state is None:
        database.run("DELETE FROM links WHERE token = ?", [link.token])
    else:
        database.run("UPDATE links SET state = ? WHERE token = ?", [state, link.token])


def load_links(database: Database, states: Sequence[State] = JOURNAL_STATES) -> list[Link]:
    """Links in the given states, in the order of planning.

    Raises:
        ResultError: The catalog is damaged.
    """
    holes = ", ".join("?" * len(states))
    rows = database.rows(f"SELECT * FROM links WHERE state IN ({holes}) ORDER BY number", states)
    try:
        return [_link(row) for row in rows]
    except (IndexError, TypeError, ValueError) as error:
        raise database.damaged(error) from error


def _link(row: sqlite3.Row) -> Link:
    # The token becomes part of file names, which are removed.
    if len(bytes.fromhex(row["token"])) != 8 or len(row["sha256"]) != 64:
        raise ValueError(f"{row['token']!r} names no link")
    return Link(
        number=row["number"],
        batch=row["batch"],
        token=row["token"],
        state=row["state"],
        path=Path(os.fsdecode(row["path"])),
        keeper=Path(os.fsdecode(row["keeper"])),
        symbolic=bool(row["symbolic"]),
        sha256=row["sha256"],
        size=row["size"],
        mode=row["mode"],
        mtime_ns=row["mtime_ns"],
        atime_ns=row["atime_ns"],
        created_at=row["created_at"],
    )
