"""The name that a model's configuration or metadata gives it, where its path says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from mlx_probe.core.records import ModelFiles

__all__ = ["own_name"]

_LONGEST = 100


def own_name(
    files: ModelFiles, config: Mapping[str, Any], metadata: Mapping[str, Any]
) -> ModelFiles:
    """The files under the name that they give themselves; unchanged if they give none.

    Args:
        files: A model whose path does not tell its name.
        config: Its config.json: ``_name_or_path`` is where transformers loaded it from.
        metadata: Its files' own metadata: ``general.name`` of GGUF.
    """
    for name in (metadata.get("general.name"), config.get("_name_or_path")):
        if isinstance(name, str) and (text := _readable(name)):
            return replace(files, model_id=text, is_named=True)
    return files


def _readable(name: str) -> str:
    """A name for tables; of a path on somebody's disk its last part."""
    text = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    path = PurePath(text.replace("\\", "/"))
    if path.is_absolute() or text.startswith((".", "~")) or len(path.parts) > 2:
        text = path.name
    return "" if text.lower() in ("", "model", "models", ".", "..") else text[:_LONGEST]
