"""The weight file formats, by suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mlx_probe.checkpoint import gguf, safetensors
from mlx_probe.checkpoint.header import Header, damaged, unreadable
from mlx_probe.errors import CheckpointError

__all__ = ["FORMATS", "Format", "read_header"]


class Format(Protocol):
    """A file format: a module with this function."""

    def read_header(self, path: Path) -> Header:
        """Read one file's header and nothing else of it.

        Raises:
            CheckpointError: The file is truncated or breaks the format's rules.
            OSError: The file cannot be read.
        """


FORMATS: dict[str, Format] = {".safetensors": safetensors, ".gguf": gguf}


def read_header(path: Path) -> Header:
    """Read a weight file's header with the format that its suffix names.

    Args:
        path: The file.

    Raises:
        CheckpointError: The suffix is unknown, the file cannot be read, is damaged, or is a
            Git LFS pointer instead of weights.
    """
    if path.suffix.lower() not in FORMATS:
        raise CheckpointError(
            f"{path}: not a weight file that is understood",
            f"Choose a file that ends in {' or '.join(FORMATS)}",
        )
    try:
        with path.open("rb") as file:
            if file.read(24) == b"version https://git-lfs.":
                raise damaged(path, "a Git LFS pointer, not weights", "Run git lfs pull there")
        return FORMATS[path.suffix.lower()].read_header(path)
    except OSError as error:
        raise unreadable(path, error) from error
