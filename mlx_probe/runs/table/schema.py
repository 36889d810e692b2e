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
_TOGETHER = 256


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
    parts: dict[str, list[pa.Array]] = {field.name: [] for field in schema}
    order: list[int] = []
    unread = iter(rows)
    while part := list(islice(unread, _TOGETHER)):
        for row in part:
            if undeclared := row.values.keys() - names:
                raise ValueError(f"row {row.index} has undeclared columns: {sorted(undeclared)}")
        order += [row.index for row in part]
        for field in schema:
            values = [row.values.get(field.name) for row in part]
            # from_pandas is pyarrow's name for "NaN is null".
            parts[field.name].append(pa.array(values, field.type, from_pandas=True))
    # One column after the other: together they would be in memory twice.
    arrays = [
        pa.concat_arrays(parts.pop(field.name)) if order else pa.array([], field.type)
        for field in schema
    ]
    table = pa.Table.from_arrays(arrays, schema=schema)
    positions = sorted(range(len(order)), key=order.__getitem__)
    return table if positions == list(range(len(order))) else table.take(positions)
