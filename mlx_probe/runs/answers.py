"""The folder of an evaluation that asked questions: names of its files, and how it is read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError

__all__ = [
    "IDENTITY",
    "ITEMS",
    "PREDICTIONS",
    "RESULTS",
    "is_evaluation",
    "read_evaluation",
    "read_object",
]

IDENTITY, PREDICTIONS = "evaluation.json", "predictions.jsonl"
ITEMS, RESULTS = "items.jsonl", "results.json"
_FIELDS = frozenset({"id", "category", "values", "error", "detail"})


def is_evaluation(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a finished evaluation."""
    folder = Path(path)
    return (folder / RESULTS).is_file() and (folder / ITEMS).is_file()


def read_evaluation(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The results of a folder, and its items.

    Raises:
        ResultError: It is no folder of results, or is damaged.
    """
    if not (folder / RESULTS).is_file():
        raise ResultError(
            f"{folder} holds no {RESULTS}", "Give the --out of a finished `mlx-probe evaluate`"
        )
    path = folder / ITEMS
    try:
        items = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except OSError as error:
        raise ResultError(
            f"cannot read {path}: {error.strerror or error}", "Evaluate again"
        ) from error
    except ValueError:
        items = [None]
    if not all(
        isinstance(item, dict) and item.keys() >= _FIELDS and isinstance(item["values"], dict)
        for item in items
    ):
        raise ResultError(f"{path} is damaged", "Evaluate again: answers that are there stay")
    return read_object(folder / RESULTS), items


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of such a folder.

    Raises:
        ResultError: It is damaged.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
        if isinstance(value, dict):
            return value
    except (OSError, ValueError):
        pass
    raise ResultError(f"{path} is damaged", "Delete it, or choose another --out")
