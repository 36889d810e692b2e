"""One statement, from its text to a typed table."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.query.engine import open_engine
from mlx_probe.library.query.plain_types import plain_table
from mlx_probe.library.query.stored import Scope, find_named_runs
from mlx_probe.library.query.tables import RUN
from mlx_probe.library.query.view import View
from mlx_probe.library.query.views import QUERY_VIEWS, SIDE_VIEWS, build, known_views

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Answer", "ask", "query"]

# Views that are empty, and no mistake, where there are no runs.
_WITHOUT_RUNS = ("runs", "models", "model_files")
_COLUMN = re.compile(r'Referenced column "([^"]+)"|does not have a column named "([^"]+)"')
_TABLE = re.compile(r"Table with name (\S+) does not exist")


@dataclass(frozen=True)
class Answer:
    """What a statement gave.

    Attributes:
        table: Its rows, in plain types.
        left_out: How many more rows there are; counting stops at `MOST_COUNTED`.
    """

    table: pa.Table
    left_out: int = 0


def query(
    sql: str,
    runs: Sequence[Path | str] = (),
    *,
    catalog: bool = False,
    database: Path | str | None = None,
    timeout: float | None = None,
) -> pa.Table:
    """Answer one SELECT statement about finished runs and the catalog; nothing is written.

    The views are runs, params, compare, spectra, findings, models, model_files, and the tables
    that runs have beside the main one (heads, experts). Tables of all runs stand below each other
    with the column ``run``; columns that a run lacks are null.

    Args:
        sql: The statement, in DuckDB's SQL.
        runs: Runs, and folders below which there are runs. Without any, and without ``catalog``,
            those below data/outputs.
        catalog: Whether to add the runs that the catalog knows.
        database: The catalog's file; None for the default one.
        timeout: Seconds after which the statement is stopped; None for never.

    Returns:
        A pyarrow table: ``.to_pandas()`` makes a DataFrame of it.

    Raises:
        ConfigError: The statement is not one SELECT, is wrong, or takes too long; DuckDB (the
            extra "query") is not installed.
        ResultError: There are no runs, one of them is damaged, or the memory is not enough.
    """
    places = (runs,) if isinstance(runs, (str, Path)) else runs
    file = None if database is None else Path(database)
    scope = Scope(tuple(Path(place) for place in places), catalog, file)
    return ask(sql, scope, timeout=timeout).table


def ask(sql: str, scope: Scope, limit: int | None = None, timeout: float | None = None) -> Answer:
    """As `query`.

    Args:
        sql: The statement.
        scope: What it may see.
        limit: Most rows to return; None for all.
        timeout: Seconds after which it is stopped; None for never.
    """
    with open_engine() as engine:
        statement = engine.statement(sql)
        runs = find_named_runs(scope)
        known = known_views(runs)
        named = engine.named(sql, list(dict.fromkeys([*known, *SIDE_VIEWS])))
        if not runs and (named is None or not set(named) <= set(_WITHOUT_RUNS)):
            raise ResultError(
                f"no finished run in {scope.folders}",
                "Make one with `mlx-probe analyze MODEL`, or name runs or folders with --runs",
            )
        for name in named or ():
            if name not in known:
                raise ResultError(
                    f"no run in {scope.folders} has a table {name!r}",
                    "`mlx-probe analyze --metrics full` makes it where the model has such parts",
                )
        # Without a named view it may be SHOW TABLES, or use a function that takes names as text.
        views = {name: build(name, runs, scope) for name in named or known}
        for name in named or ():
            if views[name].schema.names == [RUN]:
                raise ResultError(
                    f"no run in {scope.folders} has rows for {name!r}",
                    f"It has {QUERY_VIEWS[name].about}. Name other runs with --runs",
                )
        engine.register(views)
        try:
            table, left_out = engine.execute(statement, limit, timeout)
        except ConfigError as error:
            raise _better(error, views, known) from error
        return Answer(plain_table(table), left_out)


def _better(error: ConfigError, views: Mapping[str, View], known: Sequence[str]) -> Exception:
    """What a scan met, or the error with the names that are near the unknown one."""
    for view in views.values():
        if view.failure is not None:
            return view.failure
    column, table = _COLUMN.search(error.fact), _TABLE.search(error.fact)
    near: Sequence[str] = ()
    if column is not None:
        names = dict.fromkeys(name for view in views.values() for name in view.schema.names)
        near = difflib.get_close_matches(column[1] or column[2], names, n=3)
    elif table is not None:
        near = difflib.get_close_matches(table[1], known, n=1) or known
    if not near:
        return error
    return ConfigError(error.fact, f"Did you mean {' or '.join(near)}? {error.remedy}")
