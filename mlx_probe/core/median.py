"""Medians without numpy.ma, which `numpy.median` and `numpy.unique` import: 40 ms of a run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["median"]


def median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median over the first axis.

    Args:
        values: At least one finite number along it.

    Returns:
        The shape of the other axes; 0-D for a vector.
    """
    ranked = np.sort(values, axis=0)
    low, high = ranked[(len(values) - 1) // 2], ranked[len(values) // 2]
    # Halves, since the sum of two may be beyond the largest float.
    middle: NDArray[np.float64] = np.asarray(low / 2 + high / 2)
    return middle
