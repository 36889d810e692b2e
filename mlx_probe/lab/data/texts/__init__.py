"""Formats of files that hold text.

A new format is one file with a `TextFormat` and one line in `TEXTS`.
"""

from __future__ import annotations

from mlx_probe.lab.data.texts.archive import ARCHIVE
from mlx_probe.lab.data.texts.compression import without_compression
from mlx_probe.lab.data.texts.json_objects import JSON
from mlx_probe.lab.data.texts.jsonl import JSONL
from mlx_probe.lab.data.texts.parquet import PARQUET
from mlx_probe.lab.data.texts.plain import PLAIN
from mlx_probe.lab.data.texts.protocol import NoText, Record, TextFormat

__all__ = ["TEXTS", "NoText", "Record", "TextFormat", "format_of"]

TEXTS: dict[str, TextFormat] = {
    "plain": PLAIN,
    "jsonl": JSONL,
    "json": JSON,
    "parquet": PARQUET,
    "archive": ARCHIVE,
}


def format_of(name: str) -> TextFormat | None:
    """The format of a file by its name, compressed or not; None if no format has it."""
    lower = without_compression(name)[0].lower()
    return next((text for text in TEXTS.values() if lower.endswith(text.suffixes)), None)
