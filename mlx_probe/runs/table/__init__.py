"""Results: rows to typed tables on disk and back.

A new output format is one module with ``write`` and ``read``, and one line in `WRITERS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlx_probe.runs.table import csv, jsonl, parquet

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["WRITERS", "Writer"]


class Writer(Protocol):
    """An output format: a module that writes a table and reads the identical table back."""

    def write(self, table: pa.Table, path: Path) -> None:
        """Writes ``table`` to ``path``, replacing what is there; raises OSError."""

    def read(self, path: Path, schema: pa.Schema) -> pa.Table:
        """Reads what `write` wrote.

        Args:
            path: The file.
            schema: Schema of the table that was written.

        Returns:
            A table with exactly ``schema``.

        Raises:
            OSError: The file cannot be read.
            ValueError: The content does not fit the schema.
        """


# By file suffix, which is also the name for `--format`. From the plainest to the most typed:
# the first is the default to write, the last that exists is the best to read.
WRITERS: dict[str, Writer] = {
    "csv": csv,
    "jsonl": jsonl,
    "parquet": parquet,
}
