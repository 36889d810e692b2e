"""Declared columns as an Arrow schema, and rows as a typed table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from mlx_probe.core.records import Column, Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["arrow_schema", "rows_to_table"]

# Rows that are in memory at a time: as Python's objects they take ten times what Arrow takes.
_TOGETHER = 4096


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema behind every output format.

    Args:
        columns: Columns in table order.

    Returns:
        One field for each column; nullable unless the column is required. Timestamps are in
        microseconds, UTC.
    """
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "list<int64>": pa.list_(pa.int64()),
        "list<string>": pa.list_(pa.string()),
    }
    return pa.schema(
        [
            pa.field(column.name, types[column.type], nullable=not column.required)
            for column in columns
        ]
    )


def rows_to_table(rows: Iterable[Row], columns: Sequence[Column]) -> pa.Table:
    """Rows in whatever order they finished, as one typed table in file order.

    Args:
        rows: Finished rows, taken a few thousand at a time. Absent values become null, and
            so does NaN: the table says "no number" in one way only.
        columns: Columns in table order.

    Returns:
        A table with `arrow_schema` of ``columns``, sorted by `Row.index`.

    Raises:
        ValueError: A row has a value that no column declares.
    """
    import pyarrow as pa

    names = {column.name for column in columns}
    schema = arrow_schema(columns)
    batches, order = [], []
    unread = iter(rows)
    while part := list(islice(unread, _TOGETHER)):
        for row in part:
            if undeclared := row.values.keys() - names:
                raise ValueError(f"row {row.index} has undeclared columns: {sorted(undeclared)}")
        order += [row.index for row in part]
        # from_pandas is pyarrow's name for "NaN is null".
        arrays = [
            pa.array([row.values.get(field.name) for row in part], field.type, from_pandas=True)
            for field in schema
        ]
        batches.append(pa.record_batch(arrays, schema=schema))
    table = pa.Table.from_batches(batches, schema)
    positions = sorted(range(len(order)), key=order.__getitem__)
    in_order = positions == list(range(len(order)))
    return (table if in_order else table.take(positions)).combine_chunks()
