"""Read the tables and singular values that a run wrote beside its main table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.folder import side_name, stem_of
from mlx_probe.runs.load import locate_run, read_described, to_frame, unreadable_table
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.spectra import SPECTRA
from mlx_probe.runs.table import WRITERS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["load_side_table", "load_spectra", "read_side_table"]


def load_side_table(run: str | os.PathLike[str], name: str) -> pd.DataFrame | None:
    """A table that a run wrote beside its main one.

    Args:
        run: A run folder, its run_meta.json, or one of its tables.
        name: Its name, such as "heads" or "experts": a key of the metadata's "tables".

    Returns:
        Types as of `load_run`; None if the run has no such table.

    Raises:
        ResultError: There is no finished run, or its files are damaged.
    """
    table = read_side_table(run, name)
    return None if table is None else to_frame(table)


def read_side_table(run: str | os.PathLike[str], name: str) -> pa.Table | None:
    """The same table as it was written; see `load_side_table`."""
    meta_path = locate_run(Path(run))
    meta = read_meta(meta_path)
    tables = meta.get("tables")
    described = tables.get(name) if isinstance(tables, dict) else None
    if described is None:
        return None
    names = {suffix: side_name(stem_of(meta_path), name, suffix) for suffix in WRITERS}
    return read_described(meta_path, meta, described, names)[0]


def load_spectra(run: str | os.PathLike[str]) -> pd.DataFrame | None:
    """The singular values that a run kept.

    Args:
        run: A run folder, its run_meta.json, or one of its tables.

    Returns:
        One row for each matrix (copies have none: see ``alias_of``): name and shape,
        spectrum_method, spectrum_error, and singular_values, a float64 array, descending. An
        approximate method gives the leading values only. None if the run kept none.

    Raises:
        ResultError: There is no finished run, or its files are damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    meta_path = locate_run(Path(run))
    file = meta_path.with_name(side_name(stem_of(meta_path), SPECTRA, "parquet"))
    if file.name not in read_meta(meta_path).get("outputs", {}):
        return None
    try:
        with parquet.ParquetFile(file, pre_buffer=False) as opened:
            return to_frame(opened.read(use_threads=False))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable_table(file, error) from error
