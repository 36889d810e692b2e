"""The weight file formats, by suffix, or by their first bytes where there is no suffix."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from mlx_probe.checkpoint.formats import gguf, npz, safetensors, torch
from mlx_probe.checkpoint.formats.header import Header, damaged, unreadable
from mlx_probe.core.errors import CheckpointError
from mlx_probe.core.records import open_file

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


# Of files without a suffix, as Ollama keeps them.
SIGNATURES: dict[bytes, Format] = {b"GGUF": gguf}


def read_header(path: Path, opener: Callable[[Path], BinaryIO] = open_file) -> Header:
    """Read a weight file's header with the format that its suffix or first bytes name.

    Args:
        path: The file.
        opener: Opens it.

    Raises:
        CheckpointError: The format is unknown, the file cannot be read, is damaged, or is a
            Git LFS pointer instead of weights.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None and path.suffix:
        raise _unknown(path)
    try:
        with opener(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            first = file.read(24)
            if first == b"version https://git-lfs.":
                raise damaged(path, "a Git LFS pointer, not weights", "Run git lfs pull there")
            form = form or next((f for s, f in SIGNATURES.items() if first.startswith(s)), None)
            if form is None:
                raise _unknown(path)
            file.seek(0)
            return form.read_header(path, file, size)
    except OSError as error:
        raise unreadable(path, error) from error


def _unknown(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a weight file that is understood",
        f"Choose a file that ends in {' or '.join(FORMATS)}",
    )
