"""How far values lie from those of their kind: robust standard deviations, linear or by logarithm.

The report's list of outliers and the findings judge by the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.median import median

__all__ = ["FEWEST", "SAME", "THRESHOLD", "robust_z", "spans_decades"]

# A tensor stands out beyond this many robust standard deviations. The usual 3.5 (Iglewicz and
# Hoaglin 1993) is for one column; over twenty columns it would list half of a large model.
THRESHOLD = 6.0
# Fewer tensors give no reliable median and spread.
FEWEST = 5
# Relative differences below this do not show in four digits: they are rounding.
SAME = 1e-4
_DECADES = 2.0
_TO_SIGMA = 1.4826  # MAD to standard deviation, for a Gaussian
_MEAN_TO_SIGMA = 1.2533  # mean absolute deviation to standard deviation, for a Gaussian


def robust_z(values: NDArray[np.float64], least: float = 0.0) -> NDArray[np.float64]:
    """Distance from the median in robust standard deviations.

    The scale is 1.4826 times the median absolute deviation from the median, or, where that is
    0 because more than half of the values are equal, 1.2533 times the mean absolute deviation
    (Iglewicz and Hoaglin 1993, "How to detect and handle outliers").

    Args:
        values: Any numbers, shape (n,).
        least: Smallest standard deviation to divide by: that of a few values may be small by
            chance.

    Returns:
        Shape (n,); 0 where all are equal, NaN where a value is not finite.
    """
    finite = np.isfinite(values)
    z = np.full(values.shape, np.nan)
    if not finite.any():
        return z
    away = values[finite] - median(values[finite])
    scale = _TO_SIGMA * median(np.abs(away)) or _MEAN_TO_SIGMA * np.mean(np.abs(away))
    scale = max(float(scale), least)
    z[finite] = away / scale if scale > 0 else 0.0
    return z


def spans_decades(values: NDArray[np.float64]) -> bool:
    """Whether values are better seen on a logarithmic scale: positive, over two decades.

    Args:
        values: Any numbers; those that are not finite do not count.
    """
    finite = values[np.isfinite(values)]
    if len(finite) == 0 or finite.min() <= 0:
        return False
    return bool(np.log10(finite.max()) - np.log10(finite.min()) >= _DECADES)
