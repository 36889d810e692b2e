"""Pairs between two sets that nobody would rather leave."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["stable_matching"]


def stable_matching(scores: NDArray[Any], size: int = 1) -> NDArray[np.int64]:
    """A partner for each row, so that each column has ``size`` of them.

    Rows propose to columns, the best first; a column keeps the best of those that proposed, as
    many as it has room for, and the others propose to their next one (deferred acceptance: Gale
    and Shapley 1962, "College admissions and the stability of marriage"). In the end no row and
    column would both rather have each other. It is not the assignment with the largest sum; where
    the best column of each row is a permutation, it is that permutation, which is both.

    Args:
        scores: (rows, columns), the larger the better; rows = columns * ``size``.
        size: Rows of a column.

    Returns:
        (rows,) a column for each row. Of equal scores the first counts.
    """
    rows = np.arange(len(scores))
    wishes = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
    proposals = np.zeros(len(rows), np.int64)
    held = np.full(len(rows), -1)
    free = rows
    while len(free):
        held[free] = wishes[free, proposals[free]]
        proposals[free] += 1
        # The rows of each column together, the best first.
        order = np.lexsort((rows, -scores[rows, held], held))
        columns = held[order]
        first = np.searchsorted(columns, columns)
        free = order[rows - first >= size]
        held[free] = -1
    return held
