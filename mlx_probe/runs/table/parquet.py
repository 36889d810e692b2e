"""Parquet with zstd compression: the smallest and fastest to read, with its own types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.table.arrays import part_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read", "write"]


def write(table: pa.Table, path: Path) -> None:
    """Writes ``table`` to ``path``."""
    import pyarrow as pa
    from pyarrow import parquet

    # Parquet refuses a null in a required field. A table with one must still reach the disk,
    # where validation names the row.
    nullable = pa.schema([field.with_nullable(True) for field in table.schema])
    parquet.write_table(
        pa.Table.from_arrays(table.columns, schema=nullable), path, compression="zstd"
    )


def read(path: Path, schema: pa.Schema, only: Sequence[str] | None = None) -> pa.Table:
    """Reads what `write` wrote.

    Args:
        path: The file.
        schema: Of the whole table.
        only: Names of the columns to read; None for all.

    Raises:
        ValueError: The columns or their types are not those of ``schema``.
    """
    import pyarrow as pa
    from pyarrow import parquet

    # In this thread and through Arrow's own file: its reader threads, calling back into a
    # Python file, could outlive the interpreter and abort the process at its end. Not
    # `read_table`, whose data set layer reads folder names.
    with parquet.ParquetFile(path, pre_buffer=False) as file:
        stored = file.schema_arrow
        if stored.names != schema.names or stored.types != schema.types:
            raise ValueError(f"the columns are {stored.to_string()}")
        table = file.read(only, use_threads=False)
    return pa.Table.from_arrays(table.columns, schema=part_of(schema, only))
