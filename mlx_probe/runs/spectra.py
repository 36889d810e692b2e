"""Singular values on disk: one list for each matrix, in a Parquet file beside the table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPECTRA", "write_spectra"]

# Name of the file, without stem and suffix.
SPECTRA = "spectra"

_VALUES = "singular_values"

# Values in memory at a time.
_GROUP = 1 << 22


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
            ends = np.cumsum([0, *map(len, values)]).astype(np.int32)
            lists = pa.ListArray.from_arrays(ends, np.concatenate(values))
            arrays = [*identity.take(rows).columns, lists]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            rows.clear()
            values.clear()

        for row, sigma in spectra:
            if values and count + len(sigma) > _GROUP:
                flush()
                count = 0
            count += len(sigma)
            rows.append(row)
            values.append(sigma)
        if rows:
            flush()
