"""Weights of the same form whose bytes are all zero: to time reading what is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mlx_probe.checkpoint.mapping import MappedFile
from mlx_probe.checkpoint.weight import Weight

__all__ = ["blank_weight"]


def blank_weight(weight: Weight, folder: Path) -> Weight:
    """The weight as it would be read from files of the same size that hold nothing.

    Args:
        weight: Its shards need not be on this disk.
        folder: Where the files are made; they take no space on file systems with sparse files.

    Raises:
        OSError: They cannot be made.
    """
    files = {}
    for number, path in enumerate(sorted({path for path, _, _ in weight.byte_ranges()})):
        size = weight.files[path].size
        blank = folder / f"{number}.blank"
        with blank.open("wb") as file:
            file.truncate(size)
        files[path] = MappedFile(blank, size)
    return replace(weight, files=files)
