"""The weight file formats, by suffix."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from mlx_probe.checkpoint import gguf, npz, safetensors, torch
from mlx_probe.checkpoint.header import Header, damaged, unreadable
from mlx_probe.errors import CheckpointError
from mlx_probe.records import open_file

__all__ = ["FORMATS", "Format", "read_header"]


class Format(Protocol):
    """A file format: a module with this function."""

    def read_header(self, path: Path, file: BinaryIO, size: int) -> Header:
        """Read one file's header and nothing else of it.

        Args:
            path: The file's name, for messages and for `TensorInfo.shard`.
            file: The same, open at its start; seekable, maybe slow to seek in (remote).
            size: Its bytes.

        Raises:
            CheckpointError: The file is truncated or breaks the format's rules.
            OSError: The file cannot be read.
        """


FORMATS: dict[str, Format] = {
    ".safetensors": safetensors,
    ".gguf": gguf,
    ".bin": torch,
    ".pt": torch,
    ".pth": torch,
    ".npz": npz,
}


def read_header(path: Path, opener: Callable[[Path], BinaryIO] = open_file) -> Header:
    """Read a weight file's header with the format that its suffix names.

    Args:
        path: The file.
        opener: Opens it.

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
        with opener(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if file.read(24) == b"version https://git-lfs.":
                raise damaged(path, "a Git LFS pointer, not weights", "Run git lfs pull there")
            file.seek(0)
            return FORMATS[path.suffix.lower()].read_header(path, file, size)
    except OSError as error:
        raise unreadable(path, error) from error
