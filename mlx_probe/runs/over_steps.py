"""The rows of several runs in one table, with the step of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.records import Column
from mlx_probe.runs.load import read_table
from mlx_probe.runs.table.arrays import to_array
from mlx_probe.runs.table.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["STEP_COLUMN", "table_over_steps"]

STEP_COLUMN = Column(
    "step", "int64", "run", "Step after which the weights were kept.", required=True
)


def table_over_steps(runs: Mapping[int, Path]) -> pa.Table:
    """The rows of several runs, the step first.

    Args:
        runs: Their folders by the step, at least one. Columns that some lack are null there.

    Returns:
        In one piece: dictionaries are shared by all runs, which makes a file of it small.

    Raises:
        ResultError: One cannot be read.
    """
    import pyarrow as pa

    tables = [_with_step(run, step) for step, run in runs.items()]
    same = all(table.schema == tables[0].schema for table in tables)
    joined = pa.concat_tables(tables) if same else _joined(tables)
    table: pa.Table = joined.combine_chunks()
    return table


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Tables of different columns as one."""
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="default")


def _with_step(run: Path, step: int) -> pa.Table:
    """The rows of a measurement, the step first."""
    import pyarrow as pa

    table, columns, _ = read_table(run)
    number = to_array([step] * len(table), pa.int64())
    schema = arrow_schema((STEP_COLUMN, *columns))
    return pa.Table.from_arrays([pa.chunked_array([number]), *table.columns], schema=schema)
