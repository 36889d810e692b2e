"""What the folder of a result holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_text
from mlx_probe.runs.table.strict_json import document, encode

__all__ = ["IDENTITY", "ITEMS", "PREDICTIONS", "RESULTS", "claim", "finish", "read_result"]

IDENTITY, PREDICTIONS = "evaluation.json", "predictions.jsonl"
ITEMS, RESULTS = "items.jsonl", "results.json"


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Take a folder for answers that were made in one way.

    Args:
        folder: New, or one that was claimed before.
        identity: What decides the answers.

    Raises:
        ConfigError: It holds answers that were made in another way.
        ResultError: It cannot be written.
    """
    path = folder / IDENTITY
    if path.exists():
        before = _json(path)
        names = [key for key in identity if before.get(key) != identity[key]]
        if names:
            raise ConfigError(
                f"{folder} holds answers that were made with other settings: {', '.join(names)}",
                "Choose another --out",
            )
    elif folder.is_file():
        raise ConfigError(f"{folder} is a file", "Give a folder with --out")
    else:
        write_text(path, document(identity) + "\n")


def finish(folder: Path, items: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> None:
    """Write what was measured; the results are written last.

    Raises:
        ResultError: The disk refused.
    """
    write_text(folder / ITEMS, "".join(encode(item) + "\n" for item in items))
    write_text(folder / RESULTS, document(results) + "\n")


def read_result(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The results of a folder, and its items.

    Raises:
        ResultError: It is no folder of results.
    """
    if not (folder / RESULTS).is_file():
        raise ResultError(
            f"{folder} holds no {RESULTS}", "Give the --out of a finished `mlx-probe evaluate`"
        )
    path = folder / ITEMS
    try:
        items = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if all(isinstance(item["values"], dict) and item["id"] for item in items):
            return _json(folder / RESULTS), items
    except OSError as error:
        raise ResultError(
            f"cannot read {path}: {error.strerror or error}", "Evaluate again"
        ) from error
    except (ValueError, KeyError, TypeError):
        pass
    raise ResultError(f"{path} is damaged", "Evaluate again: answers that are there stay")


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
        if isinstance(value, dict):
            return value
    except (OSError, ValueError):
        pass
    raise ResultError(f"{path} is damaged", "Delete it, or choose another --out")
