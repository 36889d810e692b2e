"""Plain values that a pickle keeps beside packed weights: HQQ's settings, which are no tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint.formats.pickle_stream import Object
from mlx_probe.checkpoint.formats.torch_objects import MAX_NAME, extents, parts_of

__all__ = ["SETTINGS", "packed_settings"]

# Key of the settings in `Header.metadata`: name of the module -> its settings.
SETTINGS = "packed_settings"
_CODES = "W_q"
# HQQ before 0.2 has its settings one level below.
_NESTED = "meta"


def packed_settings(path: Path, root: Any, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Numbers, texts and shapes beside every tensor called ``W_q``.

    Args:
        path: The file, for messages.
        root: Result of `read_pickle`.
        names: Names of its tensors. Without one that ends in ``W_q`` nothing is looked at.

    Returns:
        By the module's name; shapes are lists of numbers. Empty if there are none.

    Raises:
        CheckpointError: A dictionary of the pickle has a key that is not plain.
    """
    if not any(name.rpartition(".")[2] == _CODES for name in names):
        return {}
    settings: dict[str, dict[str, Any]] = {}
    pending: list[tuple[str, Any]] = [("", root)]
    visited: set[int] = set()
    while pending:
        prefix, value = pending.pop()
        if id(value) in visited or len(prefix) > MAX_NAME:
            continue
        visited.add(id(value))
        parts = dict(parts_of(path, value))
        if _CODES in parts:
            nested = parts.get(_NESTED)
            below = dict(parts_of(path, nested)) if isinstance(nested, Object) else {}
            settings[prefix] = _plain(below) | _plain(parts)
        pending.extend(
            (f"{prefix}.{key}" if prefix else key, part)
            for key, part in parts.items()
            if isinstance(part, Object | list | tuple)
        )
    return settings


def _plain(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are numbers, texts or shapes."""
    plain: dict[str, Any] = {}
    for key, value in parts.items():
        shape = extents(value) if isinstance(value, Object) else None
        if type(value) in (int, float, bool, str):
            plain[key] = value
        elif shape is not None:
            plain[key] = list(shape)
    return plain
