"""Which line of one part is which line of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.matching import stable_matching

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.reading import Numbers

__all__ = ["Order", "assigned"]

Order = NDArray[np.int64]

# Rows of scores in memory at a time, and lines left over that are matched all at once.
_ROWS, _MATCHED = 1024, 4096


def assigned(keys: Numbers, others: Numbers) -> Order | None:
    """The line of another part that is nearest to each line by its cosine, each taken once.

    A line keeps the one that is nearest to it, if that one is nearest to no other line with a
    larger cosine. What is left on both sides is matched by `stable_matching`. Where the nearest
    ones are a permutation, the result is the assignment with the largest sum.

    Args:
        keys: Of the one part, (lines, coordinates).
        others: Of the other, the same shape.

    Returns:
        None where too many lines are left to be matched at once: these are no copies.
    """
    keys, others = _unit(keys), _unit(others)
    count = len(keys)
    nearest, best = np.empty(count, np.int64), np.empty(count, np.float32)
    for first in range(0, count, _ROWS):
        scores = keys[first : first + _ROWS] @ others.T
        at = scores.argmax(axis=1)
        nearest[first : first + _ROWS] = at
        best[first : first + _ROWS] = scores[np.arange(len(at)), at]
    order = np.full(count, -1, np.int64)
    # The best of those that want the same one, the first of equal ones.
    ranked = np.lexsort((np.arange(count), -best, nearest))
    wanted, firsts = np.unique(nearest[ranked], return_index=True)
    order[ranked[firsts]] = wanted
    lines = np.flatnonzero(order < 0)
    if not len(lines):
        return order
    free = np.setdiff1d(np.arange(count), wanted)
    if len(lines) > _MATCHED:
        return None
    order[lines] = free[stable_matching(keys[lines] @ others[free].T)]
    return order


def _unit(keys: Numbers) -> Numbers:
    lengths = np.linalg.norm(keys, axis=1, keepdims=True)
    unit: Numbers = np.divide(keys, lengths, out=np.zeros_like(keys), where=lengths > 0)
    return unit
