"""What is being replaced by links, and what has been: written down before it happens."""

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

# planned: to be undone if it is found so. linked: the link is right, the old file may go.
# done: nothing of it is left but the link. undoing: the path is to get bytes of its own.
State = Literal["planned", "linked", "done", "undoing", "undone"]
JOURNAL_STATES: tuple[State, ...] = ("planned", "linked", "done", "undoing", "undone")


@dataclass(frozen=True)
class Link:
    """A path that was, is or will be a link to another file of the same content.

    Attributes:
        number: Order in which links were planned.
        batch: Names all links of one command.
        token: Names the temporary files.
        state: See `State`.
        path: Real path of the copy.
        keeper: Real path of the file that stays.
        symbolic: Whether the link is symbolic.
        sha256: Of the content.
        size: Bytes of it.
        mode: Permission bits that the copy had.
        mtime_ns: When the copy had last been written.
        atime_ns: When it had last been read.
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

    # Short names of their own: the file's might leave no room for an ending.
    @property
    def backup(self) -> Path:
        """Second name of the copy while it is replaced."""
        return self.path.with_name(f".mlx-probe-{self.token}.old")

    @property
    def fresh(self) -> Path:
        """What takes the path's place: the link, or the path's own bytes again."""
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
        batch: Names the command.
        path: Real path of the copy.
        keeper: Real path of the file that stays.
        symbolic: Whether by a symbolic link.
        sha256: Of both.
        status: Of the copy.
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
    """Write down how far a link is; None takes it out of the journal."""
    if state is None:
        database.run("DELETE FROM links WHERE token = ?", [link.token])
    else:
        database.run("UPDATE links SET state = ? WHERE token = ?", [state, link.token])


def load_links(database: Database, states: Sequence[State] = JOURNAL_STATES) -> list[Link]:
    """Links in some states, in the order in which they were planned.

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
    # It becomes part of file names that are removed.
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
