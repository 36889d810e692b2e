"""Read the files of a mixture's run that are no tables of its metadata."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.load import locate_run, to_frame, unreadable_table
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.mixture.maps import read_maps

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["kind_of", "read_arrays", "read_parquet"]


def kind_of(run: str | os.PathLike[str]) -> str | None:
    """The kind of a finished run; None for what is none, or says none."""
    try:
        found = read_meta(locate_run(Path(run))).get("kind")
    except ResultError:
        return None
    return found if isinstance(found, str) else None


def read_arrays(meta: Path, name: str) -> dict[str, NDArray[np.float32]]:
    """The arrays of a safetensors file that a run wrote; empty if it wrote none.

    Args:
        meta: The run's metadata file.
        name: Of the file.

    Raises:
        ResultError: The file is gone or damaged.
    """
    file = _listed(meta, name)
    return {} if file is None else read_maps(file)


def read_parquet(meta: Path, name: str) -> pd.DataFrame | None:
    """A parquet file that a run wrote, with the types of `load_run`; None if it wrote none.

    Args:
        meta: The run's metadata file.
        name: Of the file.

    Raises:
        ResultError: The file is gone or damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    file = _listed(meta, name)
    if file is None:
        return None
    try:
        with parquet.ParquetFile(file, pre_buffer=False) as opened:
            return to_frame(opened.read(use_threads=False))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable_table(file, error) from error


def _listed(meta: Path, name: str) -> Path | None:
    """A file that the metadata lists, of the size that it lists."""
    listed = read_meta(meta).get("outputs", {}).get(name)
    if listed is None:
        return None
    file = meta.with_name(name)
    try:
        size = file.stat().st_size
    except OSError as error:
        raise unreadable_table(file, error) from error
    if size != listed["bytes"]:
        raise unreadable_table(file, ValueError(f"{size} bytes instead of {listed['bytes']}"))
    return file
