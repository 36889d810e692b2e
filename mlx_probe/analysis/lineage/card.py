"""What a model card and mergekit's own file say of a model's origin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["read_card"]

# Bytes. The front matter comes first.
_MOST = 1 << 18
_FRONT_MATTER = re.compile(r"\A\s*---\r?\n(?P<yaml>.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_MERGEKIT = ("mergekit_config.yml", "mergekit_config.yaml")


def read_card(folder: Path) -> Mapping[str, Any]:
    """The front matter of README.md; "mergekit" is true if mergekit's settings lie beside it.

    Args:
        folder: Where the weights are. Damaged or missing files give nothing.
    """
    entries: dict[str, Any] = {}
    if any((folder / name).is_file() for name in _MERGEKIT):
        entries["mergekit"] = True
    try:
        with (folder / "README.md").open("rb") as file:
            text = file.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return entries
    match = _FRONT_MATTER.match(text)
    if match is None:
        return entries
    # Here, because most models that are compared have no card beside them.
    import yaml

    try:
        # This loader makes only text, lists and mappings.
        known = yaml.load(match["yaml"], yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return entries
    return {**(known if isinstance(known, dict) else {}), **entries}
