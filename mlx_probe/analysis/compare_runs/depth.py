"""Layers of models of different depth on one scale, and medians along it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["depth_bins", "grouped_medians"]


def depth_bins(
    layers: NDArray[np.float64], count: NDArray[np.int64], bins: int
) -> NDArray[np.int64]:
    """The bin of relative depth, layer / (count - 1), that each layer falls into.

    The first layer is at depth 0 and the last at 1, so that first and last layers of all models
    are aligned. The only layer of a model is neither: it is at 1/2. Bin k holds depths from
    k/bins to below (k + 1)/bins; the last one also depth 1.

    Args:
        layers: Layer of each tensor, shape (n,); NaN outside the layers.
        count: Layers of the stack that each tensor is in, shape (n,).
        bins: Number of bins, at least 1.

    Returns:
        Shape (n,); -1 outside the layers.
    """
    inside = np.isfinite(layers)
    layer = np.where(inside, layers, 0).astype(np.int64)
    last = np.maximum(count - 1, 0)
    # In integers: 3 / 10 * 10 is not 3 in floats.
    found = np.where(last > 0, layer * bins // np.maximum(last, 1), bins // 2)
    return np.where(inside, np.clip(found, 0, bins - 1), -1)


def grouped_medians(
    values: NDArray[np.float64], keys: NDArray[np.int64], size: int
) -> NDArray[np.float64]:
    """The median of the numbers of each key, for several columns at once.

    One sort for all columns: a call for each would take three times as long for small tables.

    Args:
        values: Shape (columns, n); NaN is no number.
        keys: Shape (n,), from 0 to size - 1; negative ones are left out.
        size: Number of keys.

    Returns:
        Shape (columns, size); NaN for keys without a number.
    """
    columns = len(values)
    # Every column has keys of its own.
    own = keys + size * np.arange(columns)[:, None]
    known = (keys >= 0) & ~np.isnan(values)
    values, own = values[known], own[known]
    ordered = values[np.lexsort((values, own))]
    counts = np.bincount(own, minlength=columns * size)
    ends = np.cumsum(counts)
    medians = np.full(columns * size, np.nan)
    some = counts > 0
    first = (ends - counts)[some]
    low, high = ordered[first + (counts[some] - 1) // 2], ordered[first + counts[some] // 2]
    # Halves: the sum of two large floats overflows. Equal ones (infinities) are their own middle,
    # and between minus and plus infinity there is none.
    with np.errstate(invalid="ignore"):
        medians[some] = np.where(low == high, low, low / 2 + high / 2)
    return medians.reshape(columns, size)
