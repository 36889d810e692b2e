"""Whether two JSON values are equal: ``true`` is not 1, and 1.0 is 1, as JSON Schema has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["same_value"]


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; NaN equals itself."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other or _both_nan(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same_value, one, other))
    return type(one) is type(other) and bool(one == other)


def _both_nan(one: float, other: float) -> bool:
    return (
        isinstance(one, float)
        and isinstance(other, float)
        and math.isnan(one + other)
        and (math.isnan(one) and math.isnan(other))
    )
