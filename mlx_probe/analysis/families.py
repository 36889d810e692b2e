"""Headings of the groups of columns."""

from __future__ import annotations

from mlx_probe.core.messages import translated
from mlx_probe.metrics import FAMILIES

__all__ = ["family_title"]

# Families that are written in another way than their names.
_WRITTEN = {"cpu": "CPU"}


def family_title(name: str) -> str:
    """The heading of a group of columns, in the reader's language.

    Args:
        name: `Column.family`.
    """
    # Columns that only an old run has are of no family.
    titles = {family.name: family.title for family in FAMILIES} | {"": "Columns"}
    written = titles.get(name) or _WRITTEN.get(name)
    return translated(written or name.replace("_", " ").capitalize())
