"""What an adapter leaves out of a whole difference, and the rank that it would need."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["error_of", "rank_above_rounding", "totals"]

_Row = Mapping[str, Any]


def error_of(rows: Sequence[_Row], layout: str) -> float | None:
    """Relative Frobenius error of one layout over all changed tensors; None if nothing changed.

    Args:
        rows: Rows of the adapter's table, with "left_out_norm".
        layout: "peft" or "mlx_lm".
    """
    change = sum((row.get("change_norm") or 0.0) ** 2 for row in rows)
    rest = sum(_rest(row, layout) ** 2 for row in rows)
    return math.sqrt(rest / change) if change else None


def _rest(row: _Row, layout: str) -> float:
    carried = row.get(layout)
    if carried == "whole":
        return 0.0
    return float(row.get("left_out_norm" if carried else "change_norm") or 0.0)


def totals(rows: Sequence[_Row]) -> dict[str, Any]:
    """Numbers of the whole difference.

    Args:
        rows: Rows of the adapter's table.
    """
    factored = [row for row in rows if row["status"] == "ok" and row.get("lora_rank") is not None]
    change = sum((row["change_norm"] or 0.0) ** 2 for row in factored)
    rest = sum(row["left_out_norm"] ** 2 for row in factored)
    rounding = sum(((row["rounding_share"] or 0.0) * row["change_norm"]) ** 2 for row in factored)
    return {
        "matrices": len(factored),
        "rank": max((row["lora_rank"] for row in factored), default=0),
        "ranks": {str(k): n for k, n in sorted(Counter(r["lora_rank"] for r in factored).items())},
        "error": math.sqrt(rest / change) if change else None,
        "rounding_share": math.sqrt(rounding / change) if change else None,
        "rank_above_rounding": rank_above_rounding(rows),
        "left_out": sum(row["status"] == "left_out" for row in rows),
        "unknown": sum(row["status"] == "unknown" for row in rows),
    }


def rank_above_rounding(rows: Sequence[_Row]) -> int | None:
    """The largest rank above rounding of a factored matrix; None where it says nothing.

    It says nothing of an adapter, or where half of the directions of a matrix or more are above.
    """
    known = [
        (row["delta_rank_above_rounding"], min(row["rows"], row["cols"]))
        for row in rows
        if row["status"] == "ok" and row.get("delta_rank_above_rounding") is not None
    ]
    if not known or any(2 * rank >= short for rank, short in known):
        return None
    return max(rank for rank, _ in known) or None
