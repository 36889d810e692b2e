"""The catalog's file: one SQLite database that several processes may use at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.paths import data_dir
from mlx_probe.library.catalog.schema import VERSION, VERSIONS

__all__ = ["VERSION", "Database", "default_database", "open_database"]

# "mlxp": distinguishes our databases from those of other programs.
APPLICATION = 0x6D6C7870
# Seconds to wait for another process's transaction.
TIMEOUT = 30.0


def default_database() -> Path:
    """MLX_PROBE_CATALOG, or a file in the system's data folder."""
    if given := os.environ.get("MLX_PROBE_CATALOG"):
        return Path(given).expanduser()
    return data_dir() / "catalog.sqlite"


class Database:
    """An open catalog.

    Each statement outside of `writing` is a separate transaction.

    Args:
        path: The file, for messages.
        connection: The connection; `open_database` closes it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows that a query returns.

        Raises:
            ResultError: The file is damaged, locked for too long, or cannot be read.
        """
        with explained(self.path):
            return self._connection.execute(statement, values).fetchall()

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute one statement; returns the number of rows that it changed.

        Raises:
            ResultError: The file is damaged, locked for too long, or cannot be written.
        """
        with explained(self.path):
            return self._connection.execute(statement, values).rowcount

    def run_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Execute one statement for each of several rows of values.

        Raises:
            ResultError: As `run`.
        """
        with explained(self.path):
            self._connection.executemany(statement, values)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction: all statements within it take effect, or none; no other process writes.

        Raises:
            ResultError: As `run`.
        """
        self.run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            # After some failures SQLite has rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.run("COMMIT")

    def damaged(self, what: object) -> ResultError:
        """The error for a damaged catalog."""
        return _damaged(self.path, what)


@contextmanager
def open_database(path: Path, read_only: bool = False) -> Iterator[Database]:
    """Open the catalog; it is created if it does not exist, and converted if it is older.

    Args:
        path: The file.
        read_only: Whether to write nothing; the file has to exist, and may be older.

    Raises:
        ResultError: It cannot be opened, is damaged, is something else, or was written by a
            newer version.
    """
    if not read_only:
        _make_folder(path.parent)
    address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    with explained(path):
        connection = sqlite3.connect(address, timeout=TIMEOUT, isolation_level=None, uri=True)
    with closing(connection):
        connection.row_factory = sqlite3.Row
        database = Database(path, connection)
        # A rollback journal, not WAL: WAL needs memory that all users share, and home folders
        # may be on a network.
        database.run("PRAGMA foreign_keys = ON")
        database.run("PRAGMA synchronous = FULL")
        _prepare(database, read_only)
        yield database


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(
            f"cannot make {folder}: {os.strerror(error.errno or 0)}",
            "Choose another file with --database or MLX_PROBE_CATALOG",
        ) from error


def _prepare(database: Database, read_only: bool) -> None:
    def pragma(name: str) -> int:
        return int(database.rows(f"PRAGMA {name}")[0][0])

    if pragma("user_version") == 0 and not read_only:
        with database.writing():
            # Another process may have been faster.
            tables = database.rows("SELECT name FROM sqlite_master LIMIT 1")
            if pragma("user_version") == 0 and not tables:
                _convert(database, 0)
                database.run(f"PRAGMA application_id = {APPLICATION}")
    if pragma("application_id") != APPLICATION:
        raise ResultError(
            f"{database.path} is a database of something else",
            "Choose another file with --database or MLX_PROBE_CATALOG",
        )
    # A reader takes an older one as it is: it lacks tables, and no table has changed.
    if 0 < pragma("user_version") < VERSION and not read_only:
        with database.writing():
            _convert(database, pragma("user_version"))
    version = pragma("user_version")
    if not 0 < version <= VERSION:
        raise ResultError(
            f"{database.path} has version {version} of the catalog; "
            f"this mlx-probe knows version {VERSION}",
            "Update mlx-probe, or choose another file with --database",
        )


def _convert(database: Database, version: int) -> None:
    """Make the newest version of an older one; 0 is an empty file. Within `Database.writing`."""
    for statements in VERSIONS[version:]:
        for statement in statements.split(";"):
            database.run(statement)
    database.run(f"PRAGMA user_version = {VERSION}")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns errors of SQLite into a fact and a remedy."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            remedy = "Wait until the other mlx-probe has ended, and run the command again"
        elif "no such" in text:
            raise _damaged(path, error) from error
        elif "full" in text:
            remedy = "Free space on that disk, or choose another file with --database"
        else:
            remedy = "Check its permissions, or choose another file with --database"
        raise ResultError(f"cannot use the catalog {path}: {text}", remedy) from error
    # A file that is not a catalog may hold values that cannot be decoded (bytes as text).
    except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, what: object) -> ResultError:
    return ResultError(
        f"the catalog {path} is damaged: {what}",
        "Move that file away and run `mlx-probe catalog scan`; a backup of it has your notes",
    )
