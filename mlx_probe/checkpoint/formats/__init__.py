"""Reading a weight file's header by the format that its suffix or its first bytes name."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from mlx_probe.checkpoint.formats.header import Header
from mlx_probe.core.errors import CheckpointError, damaged, unreadable
from mlx_probe.core.formats import FORMATS, Format, format_of, weight_suffixes
from mlx_probe.core.records import open_file

__all__ = ["Reader", "read_header"]


class Reader(Protocol):
    """The module that `Format.reader` names: it has this function."""

    def read_header(self, path: Path, file: BinaryIO, size: int) -> Header:
        """Read one file's header and nothing else of it.

        Args:
            path: The file's name, for messages and for `TensorInfo.shard`.
            file: That file, open at its start; seekable, but seeking may be slow (remote).
            size: Its size in bytes.

        Raises:
            CheckpointError: The file is truncated or breaks the format's rules.
            OSError: The file cannot be read.
        """


def read_header(path: Path, opener: Callable[[Path], BinaryIO] = open_file) -> Header:
    """Read a weight file's header with the format that its suffix or first bytes name.

    Args:
        path: The file.
        opener: Opens the file.

    Raises:
        CheckpointError: The format is unknown, the file cannot be read, is damaged, or is a
            Git LFS pointer instead of weights.
    """
    form = format_of(path.suffix)
    if form is None and path.suffix:
        raise _unknown(path)
    try:
        with opener(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            first = file.read(24)
            if first == b"version https://git-lfs.":
                raise damaged(path, "a Git LFS pointer, not weights", "Run git lfs pull there")
            form = form or _by_signature(first)
            if form is None:
                raise _unknown(path)
            file.seek(0)
            reader = cast(Reader, import_module(form.reader))
            return reader.read_header(path, file, size)
    except OSError as error:
        raise unreadable(path, error) from error


def _by_signature(first: bytes) -> Format | None:
    signed = (form for form in FORMATS.values() if form.signature)
    return next((form for form in signed if first.startswith(form.signature)), None)


def _unknown(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a weight file that is understood",
        f"Choose a file that ends in {' or '.join(weight_suffixes())}",
    )
