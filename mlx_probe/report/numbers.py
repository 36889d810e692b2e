"""Columns of numbers as the reports draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["floats"]


def floats(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column of numbers or booleans, NaN for null."""
    values: NDArray[np.float64] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return values
