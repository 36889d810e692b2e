"""Formats of files that hold text.

A new format is one file with a `TextFormat` and one line in `TEXTS`.
"""

from __future__ import annotations

from mlx_probe.lab.data.texts.plain import PLAIN
from mlx_probe.lab.data.texts.protocol import Record, TextFormat

__all__ = ["TEXTS", "Record", "TextFormat", "format_of"]

TEXTS: dict[str, TextFormat] = {"plain": PLAIN}


def format_of(name: str) -> TextFormat | None:
    """The format of a file by the end of its name; None if no format has it."""
    lower = name.lower()
    return next((text for text in TEXTS.values() if lower.endswith(text.suffixes)), None)
