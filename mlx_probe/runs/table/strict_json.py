"""JSON that every strict parser reads, without losing infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np

__all__ = ["document", "encode"]


def encode(value: Any) -> str:
    """One line of strict JSON.

    Floats are in their shortest form that reads back to the same number. Infinity becomes
    ``1e999``, a valid number that IEEE parsers round to infinity; NaN becomes null.
    Timestamps become ISO 8601 in UTC; tuples become arrays.

    Args:
        value: Mappings, lists, tuples, strings, numbers (numpy's too), aware datetimes, None.

    Returns:
        ASCII text without line breaks.

    Raises:
        TypeError: Something that is none of the above.
    """
    try:
        return json.dumps(value, allow_nan=False, default=_to_plain)
    except ValueError:
        # A float that is not finite, somewhere inside: only now is the slow way needed.
        pass
    if isinstance(value, Mapping):
        items = (f"{json.dumps(str(key))}: {encode(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(encode, value)) + "]"
    number = float(value)
    return "null" if math.isnan(number) else "1e999" if number > 0 else "-1e999"


def document(value: Any) -> str:
    """Strict JSON as `encode` writes it, with line breaks for those who read it.

    Args:
        value: As for `encode`.
    """
    try:
        return json.dumps(value, indent=2, allow_nan=False, default=_to_plain)
    except ValueError:
        return encode(value)


def _to_plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, datetime):
        text = value.astimezone(timezone.utc).isoformat(timespec="microseconds")
        return text.replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"JSON has no {type(value).__name__}")
