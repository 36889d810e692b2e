"""Columns of numbers as the reports draw them: as floats, on a linear or a logarithmic scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SAME", "floats", "spans_decades"]

# Relative differences below this do not show in four digits: they are rounding.
SAME = 1e-4
_DECADES = 2.0


def floats(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column of numbers or booleans, NaN for null."""
    values: NDArray[np.float64] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def spans_decades(values: NDArray[np.float64]) -> bool:
    """Whether values are better seen on a logarithmic scale: positive, over two decades.

    Args:
        values: Any numbers; those that are not finite do not count.
    """
    finite = values[np.isfinite(values)]
    if len(finite) == 0 or finite.min() <= 0:
        return False
    return bool(np.log10(finite.max()) - np.log10(finite.min()) >= _DECADES)
