"""Weights of the same shape and type with zero bytes: to time reading before a download."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mlx_probe.checkpoint.mapping import MappedFile
from mlx_probe.checkpoint.weight import Weight

__all__ = ["blank_weight"]


def blank_weight(weight: Weight, folder: Path) -> Weight:
    """The weight, to be read from empty files of the same size.

    Args:
        weight: Its shards need not be on this disk.
        folder: The files are made here. They take no space on file systems with sparse files.

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
