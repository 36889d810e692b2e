"""JSON Lines: one object for each row, strict JSON.

JSON has no infinity, and what stands for it elsewhere ("1e999", "Infinity") is refused by some
readers or turns a column of numbers into one of text. So an infinite number is null, and the last
key of every row, `INFINITE`, lists the columns of the infinite ones ("-min" for minus infinity).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.runs.table.arrays import iso_utc, part_of, to_array
from mlx_probe.runs.table.strict_json import encode

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["INFINITE", "read", "write"]

INFINITE = "infinite"


def write(table: pa.Table, path: Path) -> None:
    """Writes ``table`` to ``path``."""
    import pyarrow as pa

    with path.open("w", encoding="ascii", newline="\n") as file:
        for batch in table.to_batches(max_chunksize=4096):
            cells = [
                iso_utc(column) if pa.types.is_timestamp(column.type) else column
                for column in batch.columns
            ]
            rows = pa.RecordBatch.from_arrays(cells, names=table.column_names).to_pylist()
            file.writelines(encode(_without_infinities(row)) + "\n" for row in rows)


def read(path: Path, schema: pa.Schema, only: Sequence[str] | None = None) -> pa.Table:
    """Reads what `write` wrote.

    Args:
        path: The file.
        schema: Of the whole table.
        only: Names of the columns to read; None for all.

    Raises:
        ValueError: A line is not JSON or does not fit ``schema``.
    """
    import pyarrow as pa

    wanted = part_of(schema, only)
    values: dict[str, list[object]] = {name: [] for name in wanted.names}
    with path.open(encoding="ascii", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            record = json.loads(line)
            # Older runs have no such key, and 1e999 for infinity.
            infinite = record.pop(INFINITE, []) if isinstance(record, dict) else None
            if infinite is None or list(record) != schema.names:
                raise ValueError(f"line {number} does not hold the columns {schema.names}")
            for name in infinite:
                record[name.removeprefix("-")] = -math.inf if name.startswith("-") else math.inf
            for name, column in values.items():
                column.append(record[name])

    def from_json(field: pa.Field) -> pa.Array:
        if pa.types.is_timestamp(field.type):
            return to_array(values[field.name], pa.string()).cast(field.type)
        return to_array(values[field.name], field.type)

    return pa.Table.from_arrays([from_json(field) for field in wanted], schema=wanted)


def _without_infinities(row: dict[str, Any]) -> dict[str, Any]:
    infinite = {
        name: value for name, value in row.items() if isinstance(value, float) and math.isinf(value)
    }
    signs = [name if value > 0 else f"-{name}" for name, value in infinite.items()]
    return {**row, **dict.fromkeys(infinite), INFINITE: signs}
