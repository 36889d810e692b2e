"""DuckDB without files, network, extensions or settings: it sees the views and nothing else."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import psutil

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.query.view import View

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

T = TypeVar("T")

__all__ = ["MOST_COUNTED", "Engine", "open_engine", "sql_types"]

# Python variables are no tables, extensions are neither fetched nor loaded, nothing is spilled.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "temp_directory": "",
}
# In this order. The first is needed beside the second: DuckDB 2.0 allows the files of its own
# database whatever the second says, and takes ":memory:" in the working folder for one of them,
# so that `WITH w AS (COPY ... TO ':memory:') SELECT 1` would write it.
_LOCKS = (
    "SET disabled_filesystems = 'LocalFileSystem'",
    "SET enable_external_access = false",
    "SET TimeZone = 'UTC'",
    "SET lock_configuration = true",
)
# Part of the free memory that a statement may take.
_SHARE = 0.5
# Rows that are counted beyond the limit: a statement may have no end.
MOST_COUNTED = 1_000_000
# Rows of a batch of the result.
_BATCH = 2048
_INSTALL = "Install it with: pip install 'mlx-probe[query]'"


class Engine:
    """A connection that can only read the views.

    Args:
        connection: The connection; `open_engine` closes it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def statement(self, sql: str) -> duckdb.Statement:
        """The one statement in a text.

        Raises:
            ConfigError: There is none or more than one, or it does something else than reading.
        """
        import duckdb

        with explained():
            statements = self._connection.extract_statements(sql)
        if len(statements) != 1:
            raise ConfigError(
                f"the text holds {len(statements)} statements", "Give one SELECT statement"
            )
        kind = statements[0].type
        # MULTI: a PIVOT whose values have to be looked up first.
        reads = (
            duckdb.StatementType.SELECT,
            duckdb.StatementType.EXPLAIN,
            duckdb.StatementType.MULTI,
        )
        if kind not in reads:
            raise ConfigError(
                f"{kind.name} statements are refused: a query only reads",
                "Give one SELECT statement; redirect the output to keep the result",
            )
        return statements[0]

    def named(self, sql: str, known: list[str]) -> list[str] | None:
        """Which of the views a statement names; None where that cannot be said beforehand.

        It may name none: SHOW TABLES does not, nor do functions that take names as text.
        """
        import duckdb

        try:
            names = {name.lower() for name in self._connection.get_table_names(sql)}
        except duckdb.Error:
            # A PIVOT, or a JOIN that needs the columns. An error comes again when it is executed.
            return None
        return [name for name in known if name.lower() in names]

    def register(self, views: Mapping[str, View]) -> None:
        """Let statements name the views."""
        for name, view in views.items():
            self._connection.register(name, view)

    def execute(
        self, statement: duckdb.Statement, limit: int | None, timeout: float | None
    ) -> tuple[pa.Table, int]:
        """The rows that a statement gives.

        Args:
            statement: From `statement`.
            limit: Most rows to fetch; None for all.
            timeout: Seconds after which the statement is stopped; None for never.

        Returns:
            The table, and how many rows were left out; counting stops at a million.

        Raises:
            ConfigError: DuckDB refuses the statement, or it took too long.
        """
        import pyarrow as pa

        def fetch() -> tuple[pa.Table, int]:
            reader = self._connection.sql(statement).to_arrow_reader(_BATCH)
            batches: list[pa.RecordBatch] = []
            rows = 0
            for batch in reader:
                if limit is None or rows < limit:
                    batches.append(batch)
                rows += batch.num_rows
                if limit is not None and rows >= limit + MOST_COUNTED:
                    break
            return pa.Table.from_batches(batches, reader.schema), rows

        with explained(), self._stopped_after(timeout):
            table, rows = _heeding_ctrl_c(fetch, self._connection.interrupt)
        if limit is None or rows <= limit:
            return table, 0
        return table.slice(0, limit), min(rows - limit, MOST_COUNTED)

    @contextmanager
    def _stopped_after(self, timeout: float | None) -> Iterator[None]:
        if timeout is None:
            yield
            return
        over = threading.Event()

        def stop() -> None:
            over.set()
            self._connection.interrupt()

        timer = threading.Timer(timeout, stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception as error:
            if over.is_set():
                raise ConfigError(
                    f"the statement was stopped after {timeout:g} seconds",
                    "Make it smaller: fewer runs, a condition, or no join of all rows with all",
                ) from error
            raise
        finally:
            timer.cancel()


def _heeding_ctrl_c(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """What ``work`` returns, from a thread of its own: DuckDB may never notice Ctrl-C by itself.

    Args:
        work: What takes long.
        stop: Interrupts it; without effect where it has not begun.
    """
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(work)
        try:
            return done.result()
        except KeyboardInterrupt:
            while not done.done():
                stop()
                wait([done], timeout=0.05)
            raise


@contextmanager
def open_engine() -> Iterator[Engine]:
    """DuckDB in memory, locked.

    Raises:
        ConfigError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError("a query needs DuckDB, which is not installed", _INSTALL) from error

    free = int(psutil.virtual_memory().available * _SHARE)
    connection = duckdb.connect(":memory:", config={**_CONFIG, "memory_limit": f"{free}B"})
    try:
        for lock in _LOCKS:
            connection.execute(lock)
        yield Engine(connection)
    finally:
        connection.close()


def sql_types(view: View) -> list[tuple[str, str]]:
    """Name, and type in SQL, of each column of a view."""
    with open_engine() as engine:
        engine.register({"described": view})
        table, _ = engine.execute(engine.statement("describe described"), None, None)
    return [(row["column_name"], row["column_type"]) for row in table.to_pylist()]


@contextmanager
def explained() -> Iterator[None]:
    """Turns errors of DuckDB into a fact and a remedy."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ResultError(
            f"the statement needs more memory than is free: {_first_line(error)}",
            "Select fewer columns or runs, or aggregate",
        ) from error
    except duckdb.PermissionException as error:
        raise ConfigError(
            "the statement asks for a file or an address, and a query sees nothing but its views "
            f"({_first_line(error)})",
            "Name runs and folders with --runs",
        ) from error
    except duckdb.Error as error:
        raise ConfigError(_KIND.sub("", str(error).strip()), _SEE) from error


# "Binder Error: " and the like, which say where in DuckDB a statement failed.
_KIND = re.compile(r"\A[\w -]+ Error: ")
_SEE = "`mlx-probe query --schema` lists the views and their columns"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
