"""CSV: header line, LF line ends, strings in quotes, null as an empty cell without quotes.

Floats are in their shortest form that reads back to the same number (infinity as ``inf``),
lists are JSON text, timestamps ISO 8601 in UTC.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.table.timestamps import iso_utc

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read", "write"]


def write(table: pa.Table, path: Path) -> None:
    """Writes ``table`` to ``path``."""
    import pyarrow as pa
    from pyarrow import csv

    def as_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
        if pa.types.is_list(column.type):
            texts = [None if item is None else json.dumps(item) for item in column.to_pylist()]
            return pa.chunked_array([texts], pa.string())
        return iso_utc(column) if pa.types.is_timestamp(column.type) else column

    cells = [as_cells(column) for column in table.columns]
    csv.write_csv(pa.Table.from_arrays(cells, names=table.column_names), path)


def read(path: Path, schema: pa.Schema) -> pa.Table:
    """Reads what `write` wrote.

    Raises:
        ValueError: The header or a cell does not fit ``schema``.
    """
    import pyarrow as pa
    from pyarrow import csv

    def is_text(field: pa.Field) -> bool:
        return bool(pa.types.is_list(field.type) or pa.types.is_timestamp(field.type))

    def from_cells(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        if pa.types.is_list(field.type):
            items = [None if text is None else json.loads(text) for text in column.to_pylist()]
            return pa.chunked_array([items], field.type)
        return column.cast(field.type)

    cell_types = {field.name: pa.string() if is_text(field) else field.type for field in schema}
    cells = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        # Quotes tell the empty string from null.
        convert_options=csv.ConvertOptions(
            column_types=cell_types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    if cells.column_names != schema.names:
        raise ValueError(f"the header is {cells.column_names} instead of {schema.names}")
    columns = [from_cells(cells[field.name], field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)
