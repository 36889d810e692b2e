"""JSON Lines: one object for each row, strict JSON (see `strict_json` for infinities)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.table.strict_json import encode
from mlx_probe.runs.table.timestamps import iso_utc

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read", "write"]


def write(table: pa.Table, path: Path) -> None:
    """Writes ``table`` to ``path``."""
    import pyarrow as pa

    cells = [
        iso_utc(column) if pa.types.is_timestamp(column.type) else column
        for column in table.columns
    ]
    texts = pa.Table.from_arrays(cells, names=table.column_names)
    with path.open("w", encoding="ascii", newline="\n") as file:
        for batch in texts.to_batches(max_chunksize=4096):
            file.writelines(encode(row) + "\n" for row in batch.to_pylist())


def read(path: Path, schema: pa.Schema) -> pa.Table:
    """Reads what `write` wrote.

    Raises:
        ValueError: A line is not JSON or does not fit ``schema``.
    """
    import pyarrow as pa

    values: dict[str, list[object]] = {name: [] for name in schema.names}
    with path.open(encoding="ascii", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            record = json.loads(line)
            if not isinstance(record, dict) or list(record) != schema.names:
                raise ValueError(f"line {number} does not hold the columns {schema.names}")
            for name, value in record.items():
                values[name].append(value)

    def from_json(field: pa.Field) -> pa.Array:
        if pa.types.is_timestamp(field.type):
            return pa.array(values[field.name], pa.string()).cast(field.type)
        return pa.array(values[field.name], field.type)

    return pa.Table.from_arrays([from_json(field) for field in schema], schema=schema)
