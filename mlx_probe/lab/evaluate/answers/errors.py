"""Items, and those that failed, grouped by what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.lab.evaluate.answers.prediction import Prediction
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.function_calls.call import Call

__all__ = ["UNANSWERED", "asked", "error_groups"]

UNANSWERED = "not_answered"
# Items that stand for their group.
_SHOWN = 5


def asked(question: Question, prediction: Prediction | None) -> dict[str, Any]:
    """What was asked, wanted and answered, for an item."""
    last = question.messages[-1].get("content") if question.messages else None
    wanted = [
        {"name": each.name, "arguments": dict(each.arguments)} if isinstance(each, Call) else each
        for each in question.truth or ()
    ]
    text = prediction.text if prediction is not None else None
    if prediction is not None and prediction.tool_calls:
        text = "\n".join([*filter(None, [text]), json.dumps(list(prediction.tool_calls))])
    return {
        "id": question.id,
        "category": question.category,
        "question": last if isinstance(last, str) else json.dumps(last),
        "wanted": wanted,
        "answer": text,
    }


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
