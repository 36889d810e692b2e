"""Values of a file that anybody can have written: each is checked, none raises."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from mlx_probe.runs.experiments.records import Input, Value

__all__ = ["flat", "input_of", "mapping", "number", "numbers", "text"]

# Sections within sections, entries, and characters of one value: real settings have less.
_DEEPEST, _MOST, _LONGEST = 6, 2_000, 4_000
# Larger ones are no number of a run, and no database takes them.
_LARGEST = 2**63 - 1


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """The value if it is text, cut to what a reader can use; else ""."""
    return value[:_LONGEST] if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """The value as a finite number; None for anything else, and for a boolean."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int) and abs(value) > _LARGEST:
        return None
    return float(value) if math.isfinite(value) else None


def numbers(values: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """The finite numbers of a mapping, also of the mappings in it: "section.key"."""
    found: dict[str, float] = {}
    for name, value in flat(values).items():
        each = number(value)
        if each is not None:
            found[f"{prefix}{name}"] = each
    return found


def flat(values: Mapping[str, object]) -> dict[str, Value]:
    """Settings with one level: "section.key"; lists as JSON.

    Args:
        values: Settings by name, with sections in sections.
    """
    found: dict[str, Value] = {}
    stack: list[tuple[str, int, Mapping[str, object]]] = [("", 0, values)]
    while stack:
        prefix, depth, section = stack.pop()
        for key, value in section.items():
            name = f"{prefix}{key}"[:_LONGEST]
            if len(found) >= _MOST:
                return found
            if isinstance(value, Mapping) and depth < _DEEPEST:
                stack.append((f"{name}.", depth + 1, value))
            else:
                found[name] = _plain(value)
    return found


def _plain(value: object) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST else str(value)[:_LONGEST]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value[:_LONGEST]
    try:
        return json.dumps(value, ensure_ascii=False)[:_LONGEST]
    except (TypeError, ValueError, RecursionError):
        return ""


def input_of(role: str, described: object, **known: str) -> tuple[Input, ...]:
    """A model as metadata describe it, or its name alone; () where there is none.

    Args:
        role: See `Input`.
        described: A mapping with "id", "revision", "path" and "sha256", or a name.
        **known: Fields that the metadata have elsewhere.
    """
    if isinstance(described, str):
        described = {"id": described}
    known_of = mapping(described)
    name = text(known_of.get("id") or known_of.get("model_id") or known_of.get("path"))
    if not name:
        return ()
    revision = text(known_of.get("revision"))
    facts = {
        "revision": "" if revision == "local" else revision,
        "path": text(known_of.get("path")),
        "sha256": text(known_of.get("sha256")),
        **known,
    }
    return (Input(role, name, **facts),)
