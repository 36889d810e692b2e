"""Which numbers come from a fit that is not reliable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.metrics.heavy_tail import HEAVY_TAIL
from mlx_probe.report.numbers import floats

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FITTED", "JUDGE", "unreliable"]

JUDGE = "alpha_reliable"
# What the power-law fit gives; the judge itself is no number of the fit.
FITTED = frozenset(metric.name for metric in HEAVY_TAIL.metrics) - {JUDGE}


def unreliable(frame: pd.DataFrame, metric: str) -> NDArray[np.bool_] | None:
    """Rows whose value of a column comes from a fit that is not reliable.

    Args:
        frame: A run's rows.
        metric: A column of it.

    Returns:
        Shape (rows,); None where the column comes from no fit, or the run does not judge fits.
    """
    if metric not in FITTED or JUDGE not in frame:
        return None
    judged: NDArray[np.bool_] = floats(frame, JUDGE) == 0
    return judged
