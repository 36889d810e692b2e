"""Parquet: one row a text, read in batches of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.texts.column import text_of
from mlx_probe.lab.data.texts.protocol import Record, TextFormat

__all__ = ["PARQUET"]

_ROWS = 256
_BUFFER = 1 << 20


def _read(file: BinaryIO, name: str, column: str) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    try:
        # A buffer, so that a column of a row group is not read as a whole.
        stored = parquet.ParquetFile(file, buffer_size=_BUFFER)
        names = [stored.schema.column(i).path for i in range(len(stored.schema))]
        # The path of a list goes on behind the column's name.
        if not any(f"{path}.".startswith(f"{column}.") for path in names):
            shown = ", ".join(stored.schema_arrow.names)
            raise SourceError(
                f"{name} has no column {column!r}; it has {shown}",
                "Name the column of the text with --text-column",
            )
        number = 0
        batches = stored.iter_batches(_ROWS, columns=[column], use_threads=False)
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield text_of(row, column, f"{name}: row {number}")
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(
            f"{name} is damaged, or no Parquet file: {error}", "Get the file again"
        ) from error


PARQUET = TextFormat("Parquet", (".parquet",), _read, seeks=True)
