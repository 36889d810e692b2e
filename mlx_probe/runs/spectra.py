"""Singular values on disk: one list for each matrix, in a Parquet file beside the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.runs.table.arrays import to_array

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPECTRA", "write_spectra"]

# Name of the file, without stem and suffix.
SPECTRA = "spectra"

_VALUES = "singular_values"

# Values, and matrices, in memory at a time.
_GROUP, _MATRICES = 1 << 22, 1 << 12


def write_spectra(
    identity: pa.Table, spectra: Iterable[tuple[int, NDArray[np.float64]]], path: Path
) -> None:
    """Write singular values group by group.

    Args:
        identity: Columns of the main table that identify the matrix.
        spectra: Row numbers of the main table, ascending, and singular values, descending.
        path: The file.

    Raises:
        OSError: The disk refused.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = identity.schema.append(pa.field(_VALUES, pa.list_(pa.float64())))
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        rows: list[int] = []
        values: list[NDArray[np.float64]] = []
        count = 0

        def flush() -> None:
            arrays = [*_identity(identity, rows), _lists(values, schema.field(_VALUES).type)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            rows.clear()
            values.clear()

        for row, sigma in spectra:
            if values and (count + len(sigma) > _GROUP or len(values) == _MATRICES):
                flush()
                count = 0
            count += len(sigma)
            rows.append(row)
            values.append(sigma)
        if rows:
            flush()


def _identity(identity: pa.Table, rows: Sequence[int]) -> list[pa.Array]:
    """Some rows of a table, in ascending order. `Table.take` would import pyarrow.compute."""
    first, near = rows[0], identity.slice(rows[0], rows[-1] - rows[0] + 1)
    columns = ((field, near[field.name].to_pylist()) for field in identity.schema)
    return [to_array((known[row - first] for row in rows), field.type) for field, known in columns]


def _lists(values: Sequence[NDArray[np.float64]], kind: pa.DataType) -> pa.Array:
    """A list of numbers for each row."""
    import pyarrow as pa

    ends = np.cumsum([0, *map(len, values)]).astype(np.int32)
    numbers = [None, pa.py_buffer(np.concatenate(values))]
    items = pa.Array.from_buffers(pa.float64(), int(ends[-1]), numbers)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends)], children=[items])
