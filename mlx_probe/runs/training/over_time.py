"""The rows of all snapshots in one table: spectra_over_time, of a tuning differences_over_time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.load import load_run, to_frame, unreadable_table
from mlx_probe.runs.training.folder import META

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_over_time", "written_over_time"]


def read_over_time(path: Path, snapshots: Mapping[int, Path]) -> pd.DataFrame:
    """Column step, then all columns of the tables; the steps ascend.

    Snapshots that are measured but not in the table yet, because the run still measures, are read
    from their own tables.

    Args:
        path: The table of all snapshots; it may not be there yet.
        snapshots: The measured snapshots: step to the run of `analyze`, or of `compare`.

    Returns:
        No rows where nothing is measured.

    Raises:
        ResultError: A file is damaged.
    """
    import pandas as pd

    parts = written_over_time(path)
    known = set(parts["step"]) if parts is not None else set()
    frames = [] if parts is None else [parts]
    for step, run in snapshots.items():
        if step not in known:
            frame = load_run(run)
            frame.attrs.clear()
            frame.insert(0, "step", step)
            frames.append(frame)
    if not frames:
        nothing: pd.DataFrame = pd.DataFrame({"step": pd.Series(dtype="int64")})
        return nothing
    table = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    table["step"] = table["step"].astype("int64")
    sorted_table: pd.DataFrame = table.sort_values("step", kind="stable", ignore_index=True)
    return sorted_table


def written_over_time(path: Path) -> pd.DataFrame | None:
    """The table of the file alone.

    Args:
        path: The file.

    Returns:
        None where there is none yet, or it is not complete because the run still goes on.

    Raises:
        ResultError: The file of a finished run is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if not path.is_file():
        return None
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as opened:
            frame: pd.DataFrame = to_frame(opened.read(use_threads=False))
            return frame
    except (OSError, ValueError, pa.ArrowException) as error:
        if not path.with_name(META).exists():
            return None
        raise unreadable_table(path, error) from error
