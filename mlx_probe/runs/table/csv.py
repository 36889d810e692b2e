"""CSV: header line, LF line ends, strings in quotes, null as an empty cell without quotes.

Floats are in their shortest form that reads back to the same number (infinity as ``inf``),
lists are JSON text, timestamps ISO 8601 in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from csv import reader
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.table.arrays import iso_utc, part_of, to_array

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ROWS", "read", "write"]

# Rows that are in memory as text.
ROWS = 2048


def write(table: pa.Table, path: Path) -> None:
    """Writes ``table`` to ``path``."""
    import pyarrow as pa
    from pyarrow import csv

    def as_cells(column: pa.Array) -> pa.Array:
        if pa.types.is_list(column.type):
            texts = (None if item is None else json.dumps(item) for item in column.to_pylist())
            return to_array(texts, pa.string())
        return iso_utc(column) if pa.types.is_timestamp(column.type) else column

    def cells_of(batch: pa.RecordBatch) -> pa.RecordBatch:
        cells = [as_cells(column) for column in batch.columns]
        return pa.RecordBatch.from_arrays(cells, names=table.column_names)

    def kind_of(field: pa.Field) -> pa.DataType:
        as_text = pa.types.is_list(field.type) or pa.types.is_timestamp(field.type)
        return pa.string() if as_text else field.type

    schema = pa.schema([(field.name, kind_of(field)) for field in table.schema])
    # A few rows at a time: the text of a large table is larger than the table.
    with csv.CSVWriter(path, schema) as writer:
        for batch in table.to_batches(max_chunksize=ROWS):
            writer.write_batch(cells_of(batch))


def read(path: Path, schema: pa.Schema, only: Sequence[str] | None = None) -> pa.Table:
    """Reads what `write` wrote.

    Args:
        path: The file.
        schema: Of the whole table.
        only: Names of the columns to read; None for all.

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
            return pa.chunked_array([to_array(items, field.type)])
        return column.cast(field.type)

    with path.open(encoding="utf-8", newline="") as file:
        header = next(reader(file), [])
    if header != schema.names:
        raise ValueError(f"the header is {header} instead of {schema.names}")
    wanted = part_of(schema, only)
    cell_types = {field.name: pa.string() if is_text(field) else field.type for field in wanted}
    cells = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        # Quotes tell the empty string from null.
        convert_options=csv.ConvertOptions(
            column_types=cell_types,
            include_columns=wanted.names,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    columns = [from_cells(cells[field.name], field) for field in wanted]
    return pa.Table.from_arrays(columns, schema=wanted)
