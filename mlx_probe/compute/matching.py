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
    rows = len(scores)
    wishes = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
    proposals = np.zeros(rows, np.int64)
    held = np.full(rows, -1)
    free = np.arange(rows)
    while len(free):
        chosen = wishes[free, proposals[free]]
        proposals[free] += 1
        held[free] = chosen
        for column in np.unique(chosen):
            members = np.flatnonzero(held == column)
            if len(members) > size:
                nearest = np.argsort(-scores[members, column], kind="stable")
                held[members[nearest[size:]]] = -1
        free = np.flatnonzero(held == -1)
    return held
