"""Declared columns as an Arrow schema, and rows as a typed table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from mlx_probe.core.records import Column, Row
from mlx_probe.runs.table.arrays import ArrayBuilder, to_array

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CHUNK", "arrow_schema", "rows_to_table"]

# Rows of a table's chunk: arrays that grow further are moved about and leave holes in memory.
CHUNK = 8192


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
        rows: Finished rows, taken one at a time. Absent values become null, and
            so does NaN: the table says "no number" in one way only.
        columns: Columns in table order.

    Returns:
        A table with `arrow_schema` of ``columns``, sorted by `Row.index`.

    Raises:
        ValueError: A row has a value that no column declares.
    """
    import pyarrow as pa

    schema = arrow_schema(columns)
    batches: list[pa.RecordBatch] = []
    order: list[int] = []
    unread = iter(rows)
    while part := list(islice(unread, 1)):
        builders = {field.name: ArrayBuilder(field.type) for field in schema}
        for row in chain(part, islice(unread, CHUNK - 1)):
            if undeclared := row.values.keys() - builders.keys():
                raise ValueError(f"row {row.index} has undeclared columns: {sorted(undeclared)}")
            for name, builder in builders.items():
                builder.append(row.values.get(name))
            order.append(row.index)
        arrays = [builder.finish() for builder in builders.values()]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
    table = pa.Table.from_batches(batches, schema)
    if order == sorted(order):
        return table
    positions = sorted(range(len(order)), key=order.__getitem__)
    return table.take(to_array(positions, pa.int64()))
