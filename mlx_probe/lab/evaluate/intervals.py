"""Intervals of a share and of a mean.

A share: Wilson 1927, "Probable inference, the law of succession, and statistical inference". Not
the share plus and minus two standard errors, which is empty at 0 of n and leaves [0, 1].

A mean: bootstrap over the items; see `bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from mlx_probe.lab.evaluate.bootstrap import LEVEL, ratio_intervals

__all__ = ["mean_record", "share_record", "wilson"]


def wilson(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share.

    Args:
        count: How many are right.
        total: Of how many; at least 1.
        level: Share of intervals that hold the true one.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = count / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    # Exactly 0 and 1 at the ends, whatever the last digit says.
    return (
        0.0 if count == 0 else max(middle - half, 0.0),
        1.0 if count == total else min(middle + half, 1.0),
    )


def share_record(values: Sequence[bool]) -> dict[str, Any]:
    """A share of items, with its interval, for JSON.

    Args:
        values: Of each item.

    Returns:
        "value" and "interval", null where there is no item; "count", "items", "method".
    """
    count, total = sum(values), len(values)
    return {
        "value": count / total if total else None,
        "interval": list(wilson(count, total)) if total else None,
        "count": count,
        "items": total,
        "method": "wilson",
    }


def mean_record(values: Sequence[float], seed: int) -> dict[str, Any]:
    """A mean over items, with its interval, for JSON; see `share_record`.

    Args:
        values: Of each item.
        seed: Of the draws.
    """
    interval = None
    if values:
        numbers = np.array(values, np.float64)
        ratios = {"mean": (numbers, np.ones_like(numbers))}
        interval = list(ratio_intervals(ratios, seed)["mean"])
    return {
        "value": math.fsum(values) / len(values) if values else None,
        "interval": interval,
        "count": None,
        "items": len(values),
        "method": "bootstrap",
    }
