"""A series as reports show it: its rows over the steps, and what was found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.findings.finding import Text
from mlx_probe.analysis.series.since import SINCE
from mlx_probe.analysis.series.tables import series_table
from mlx_probe.analysis.typical import with_typical_texts
from mlx_probe.core.errors import ResultError
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS
from mlx_probe.runs.load import to_frame
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.over_steps import STEP_COLUMN
from mlx_probe.runs.series import META, SeriesFolder, is_series

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SeriesData", "load_series", "series_sentences"]


@dataclass(frozen=True)
class SeriesData:
    """A series and what was found.

    Attributes:
        folder: Its folder.
        meta: Content of its run_meta.json.
        frame: A row for each step and tensor.
    """

    folder: SeriesFolder
    meta: Mapping[str, Any]
    frame: pd.DataFrame

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.path.resolve().name

    @property
    def steps(self) -> list[int]:
        """The measured steps, ascending."""
        return [int(step) for step in self.frame["step"].unique()]

    @property
    def columns(self) -> list[Column]:
        """What is known of the columns of ``frame``."""
        known = with_typical_texts(table_columns([m.column for m in METRICS]), "params")
        return [STEP_COLUMN, *known, SINCE]


def load_series(path: str | os.PathLike[str]) -> SeriesData:
    """A series for a report.

    Args:
        path: Its folder, or its run_meta.json.

    Raises:
        ResultError: There is none, or a file is damaged.
    """
    if not is_series(path):
        raise ResultError(
            f"{os.fspath(path)} is no series", "Name the folder that `mlx-probe series --out` wrote"
        )
    given = Path(path)
    folder = SeriesFolder(given.parent if given.name == META else given)
    meta = read_meta(folder.path / META)
    frame = to_frame(series_table(folder, folder.steps()))
    # Copies of other tensors have no numbers of their own.
    kept = frame[frame["alias_of"].isna()].reset_index(drop=True)
    return SeriesData(folder, meta, kept)


def series_sentences(meta: Mapping[str, Any]) -> list[str]:
    """The findings of a series in the reader's language.

    Args:
        meta: Content of its run_meta.json.
    """
    return [Text(one["template"], one["values"]).shown for one in meta["sentences"]]
