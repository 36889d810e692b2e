"""Values of a file that anybody can have written: each is checked, none raises."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.runs.experiments.records import Input, Value

__all__ = ["flat", "input_of", "mapping", "number", "numbers", "place_of", "text"]

# Sections within sections, entries, and characters of one value: real settings have less.
_DEEPEST, _MOST, _LONGEST = 6, 2_000, 4_000
_FILES = frozenset({".txt", ".md", ".json", ".jsonl", ".parquet", ".gz", ".zst", ".tar", ".gguf"})
# Larger ones are no number of a run, and no database takes them.
_LARGEST = 2**63 - 1


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """The value if it is text, cut to what a reader can use; else ""."""
    return _clean(value) if isinstance(value, str) else ""


def _clean(value: str) -> str:
    """Text that every file and database takes: JSON may hold halves of characters."""
    return value[:_LONGEST].encode("utf-8", "backslashreplace").decode()


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
            name = _clean(f"{prefix}{key}")
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
        return _clean(value)
    try:
        return _clean(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return ""


def place_of(name: object, meta: Mapping[str, Any]) -> str:
    """The absolute path of what a command was given; "" for what is no file or folder.

    Args:
        name: As the user wrote it, relative to the folder in which the command ran.
        meta: Metadata of the run.
    """
    said, folder = text(name), text(meta.get("working_folder"))
    if not said or "\0" in said + folder or re.match(r"[a-z]+:", said):
        return ""
    # Not by `Path.expanduser`, which raises an error for "~nobody".
    written = Path(os.path.expanduser(said))  # noqa: PTH111
    if not written.is_absolute() and not folder:
        return ""
    path = os.path.realpath(Path(folder, written))
    # "owner/name" is a path only where there is one; a file that is gone has its suffix.
    is_path = said.startswith(("/", "./", "../", "~")) or written.suffix in _FILES
    return path if is_path or os.path.lexists(path) else ""


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
