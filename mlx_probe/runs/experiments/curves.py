"""The numbers of a run by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.training.folder import METRICS
from mlx_probe.runs.training.metrics import metrics_frame, read_lines

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_curves"]


def read_curves(folder: Path) -> pd.DataFrame:
    """Numbers by step: column "step", then a float64 column for each quantity.

    Args:
        folder: A run folder. One of a kind without steps has no rows.

    Returns:
        NaN where a step has no such number; a step that is there twice counts as it was last.

    Raises:
        ResultError: The metrics are damaged.
    """
    import pandas as pd

    lines, _ = read_lines(folder / METRICS)
    if not lines:
        none: pd.DataFrame = pd.DataFrame({"step": pd.Series(dtype="int64")})
        return none
    # What no line has is no curve.
    frame: pd.DataFrame = metrics_frame(lines).dropna(axis="columns", how="all")
    return frame
