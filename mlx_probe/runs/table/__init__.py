"""Results: rows to typed tables on disk and back.

A new output format is one module with ``write`` and ``read``, and one record in `WRITERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.table import csv, jsonl, parquet

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["WRITERS", "Writer"]


@dataclass(frozen=True)
class Writer:
    """An output format: it writes a table, and reads the identical table back.

    Attributes:
        description: What its files are like, for the documentation.
        write: Writes a table to a path and replaces what is there; raises OSError.
        read: Reads what ``write`` wrote; takes the path, the schema of the table, and the names
            of the columns to read, in the schema's order, or None for all. The result has the
            schema, or that of these columns. Raises OSError if the file cannot be read, and
            ValueError if its content does not fit the schema.
    """

    description: str
    write: Callable[[pa.Table, Path], None]
    read: Callable[[Path, pa.Schema, Sequence[str] | None], pa.Table]


# By file suffix, which is also the name for `--format`. From the plainest to the most typed:
# the first is the default to write, the last that exists is the best to read.
WRITERS: dict[str, Writer] = {
    "csv": Writer(
        "text with a header line, for every spreadsheet; an empty cell is no value",
        csv.write,
        csv.read,
    ),
    "jsonl": Writer(
        "one strict JSON object a line; null is no value, or infinity where the last key lists it",
        jsonl.write,
        jsonl.read,
    ),
    "parquet": Writer(
        "typed columns with zstd compression: the smallest, and the fastest to read",
        parquet.write,
        parquet.read,
    ),
}
