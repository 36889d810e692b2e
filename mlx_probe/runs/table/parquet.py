"""Parquet with zstd compression: the smallest and fastest to read, with its own types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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


def read(path: Path, schema: pa.Schema) -> pa.Table:
    """Reads what `write` wrote.

    Raises:
        ValueError: The columns or their types are not those of ``schema``.
    """
    import pyarrow as pa
    from pyarrow import parquet

    # In this thread and through Arrow's own file: its reader threads, calling back into a
    # Python file, could outlive the interpreter and abort the process at its end. Not
    # `read_table`, whose data set layer reads folder names.
    with parquet.ParquetFile(path, pre_buffer=False) as file:
        table = file.read(use_threads=False)
    if table.column_names != schema.names or table.schema.types != schema.types:
        raise ValueError(f"the columns are {table.schema.to_string()}")
    return pa.Table.from_arrays(table.columns, schema=schema)
