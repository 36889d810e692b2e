"""How well signals agree with each other: rank correlations over the windows of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

__all__ = ["rank_correlations"]

# Fewer pairs say nothing.
FEWEST = 3


def rank_correlations(
    values: Mapping[str, Sequence[float | None]],
) -> list[list[float | None]]:
    """Spearman's rank correlation of each pair of signals.

    Args:
        values: Of each signal, one for each window; None where there is none.

    Returns:
        Rows in the order of ``values``; None where a signal has the same value everywhere, or
        fewer than three windows have both.
    """
    import pandas as pd

    table = pd.DataFrame(
        {name: pd.Series(list(column), dtype=float) for name, column in values.items()}
    )
    found = table.corr("spearman", min_periods=FEWEST)
    return [[None if math.isnan(cell) else float(cell) for cell in row] for row in found.to_numpy()]
