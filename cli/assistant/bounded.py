"""Results of a size that a language model can read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from mlx_probe.runs.table.strict_json import encode

__all__ = ["MOST_CHARACTERS", "MOST_ROWS", "bounded", "plain"]

# About ten thousand tokens.
MOST_CHARACTERS = 40_000
MOST_ROWS = 1000
# A longer text or list in a row is cut: a spectrum has thousands of numbers.
_LONGEST_TEXT = 2000
_LONGEST_LIST = 64


def bounded(
    rows: Iterable[Any], limit: int = MOST_ROWS, share: float = 1.0
) -> tuple[list[Any], int]:
    """The first rows, as many as there is room for.

    Args:
        rows: JSON values.
        limit: Most rows.
        share: Part of the room that they may take.

    Returns:
        The rows, long texts and lists within them cut, and how many were left out.
    """
    kept: list[Any] = []
    room = share * MOST_CHARACTERS
    left_out = 0
    for row in rows:
        small = plain(row)
        # When one row has no room, none behind it has: the order would be another one.
        # Indented, as the SDK writes it.
        room -= len(json.dumps(small, indent=2)) if room > 0 else 0
        if len(kept) < limit and (room > 0 or not kept):
            kept.append(small)
        else:
            left_out += 1
    return kept, left_out


def plain(value: Any) -> Any:
    """A value for a protocol without infinities, with long texts and lists cut.

    NaN becomes null, infinity the text "infinity".
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinity" if value > 0 else "-infinity"
    if isinstance(value, str):
        rest = len(value) - _LONGEST_TEXT
        return f"{value[:_LONGEST_TEXT]} ... and {rest} characters more" if rest > 0 else value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        items = [plain(item) for item in value[:_LONGEST_LIST]]
        rest = len(value) - _LONGEST_LIST
        return [*items, f"... and {rest} more"] if rest > 0 else items
    # A time; what else there is JSON has.
    return json.loads(encode(value)) if isinstance(value, date) else value
