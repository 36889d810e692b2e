"""Whether two results on the same items differ by more than chance.

Right or wrong: McNemar's test in its exact form (1947; a binomial test on the items where the two
disagree). Numbers: the mean difference with a bootstrap interval over the items. Both use that
the items are the same; comparing two separate intervals would not, and finds less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlx_probe.lab.evaluate.bootstrap import ratio_intervals

__all__ = ["mcnemar", "paired_record"]


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided exact p-value.

    Args:
        only_first: Items that are right in the first result only.
        only_second: In the second one only.

    Returns:
        How likely so uneven a split is, or a more uneven one, where both are equally likely.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    # In integers: the powers of a half of thousands of items are no floats.
    tail = ways = 1
    for k in range(fewer):
        ways = ways * (total - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**total)


def paired_record(
    first: Sequence[float], second: Sequence[float], is_share: bool, seed: int
) -> dict[str, Any]:
    """The difference of two results on the same items, for JSON.

    Args:
        first: Of each item.
        second: Of the same items.
        is_share: Whether the values are right or wrong.
        seed: Of the draws.

    Returns:
        Both means, second minus first with its interval, and of shares the items on which they
        disagree and McNemar's p.
    """
    if not first:
        return {"items": 0, "first": None, "second": None, "difference": None, "interval": None,
                "only_first": None, "only_second": None, "p": None}  # fmt: skip
    a, b = np.array(first, np.float64), np.array(second, np.float64)
    interval = ratio_intervals({"d": (b - a, np.ones_like(a))}, seed)["d"]
    only_first = int(((a > 0) & (b == 0)).sum()) if is_share else None
    only_second = int(((b > 0) & (a == 0)).sum()) if is_share else None
    return {
        "items": len(a),
        "first": float(a.mean()),
        "second": float(b.mean()),
        "difference": float((b - a).mean()),
        "interval": list(interval),
        "only_first": only_first,
        "only_second": only_second,
        "p": mcnemar(only_first, only_second)
        if only_first is not None and only_second is not None
        else None,
    }
