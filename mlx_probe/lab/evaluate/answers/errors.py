"""Items that failed, grouped by what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["UNANSWERED", "error_groups"]

UNANSWERED = "not_answered"
# Items that stand for their group.
_SHOWN = 5


def error_groups(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups of equal "error", the largest first; see `Judged.items`."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        if item["error"] is not None:
            groups.setdefault(item["error"], []).append(item)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return [
        {
            "error": error,
            "items": len(members),
            "examples": [{"id": m["id"], "detail": m["detail"]} for m in members[:_SHOWN]],
        }
        for error, members in ordered
    ]
