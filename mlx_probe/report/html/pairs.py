"""Which row of a run belongs to which of another: by name and by role, without any weight."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlx_probe.analysis.compare.matching import Named, match_tensors
from mlx_probe.report.run_data import RunData

__all__ = ["encode_pairs"]

_WAYS = ("name", "role")
_IDENTITY = (
    *("param_name", "other_name", "expert_index", "part", "layer_index", "component"),
    "block_type",
)


def encode_pairs(a: RunData, b: RunData) -> dict[str, Any]:
    """Pairs of rows for the page, in the order of A's rows, then what only B has.

    Args:
        a: The first run.
        b: The second.

    Returns:
        "a" and "b": rows, -1 for none; "by": 0 for a pair by name, 1 by role, -1 for a row
        without counterpart.
    """
    ours, theirs = _named(a.frame), _named(b.frame)
    matches = match_tensors(ours, theirs)
    taken = {row for row, _ in matches.values()}
    pairs = [(row, *matches.get(row, (-1, ""))) for row in range(len(ours))]
    pairs += [(-1, row, "") for row in range(len(theirs)) if row not in taken]
    return {
        "a": [row for row, _, _ in pairs],
        "b": [row for _, row, _ in pairs],
        "by": [_WAYS.index(how) if how else -1 for _, _, how in pairs],
    }


def _named(frame: pd.DataFrame) -> list[Named]:
    nothing = [None] * len(frame)
    columns = [
        [None if pd.isna(value) else value for value in frame[name]] if name in frame else nothing
        for name in _IDENTITY
    ]
    named = []
    for name, other, expert, part, layer, component, block_type in zip(*columns, strict=True):
        text = str(name or other or "")
        role = (layer, component, block_type, expert, text.endswith("bias"))
        named.append(Named(text, (text, expert, part), role, str(block_type or "other")))
    return named
