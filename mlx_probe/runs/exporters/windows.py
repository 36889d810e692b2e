"""The windows of `moe signals`, as steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.load import to_frame, unreadable_table
from mlx_probe.runs.mixture.signals import WINDOWS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_windows"]


def read_windows(folder: Path) -> pd.DataFrame:
    """The numbers of each window: column "step" with its number, then float64.

    Args:
        folder: A finished run of `moe signals`.

    Raises:
        ResultError: Its table cannot be read.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / f"{WINDOWS}.parquet"
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as opened:
            frame: pd.DataFrame = to_frame(opened.read(use_threads=False))
        numbers: pd.DataFrame = frame.rename(columns={"window": "step"}).select_dtypes("number")
        steps = numbers["step"].astype("int64")
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise unreadable_table(path, error) from error
    others: pd.DataFrame = numbers.drop(columns="step").astype("float64")
    others.insert(0, "step", steps)
    return others
