"""Bytes of a file, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlx_probe.core.errors import unreadable

__all__ = ["stored_bytes"]

# Bytes that are in memory at a time.
_BLOCK = 1 << 23


def stored_bytes(path: Path, start: int, count: int) -> Iterator[memoryview]:
    """Some bytes of a file.

    Args:
        path: The file.
        start: The first byte.
        count: How many.

    Raises:
        CheckpointError: The file is gone, cannot be read, or ends too early.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            while count:
                block = file.read(min(count, _BLOCK))
                if not block:
                    raise OSError(0, "the file ends too early")
                count -= len(block)
                yield memoryview(block)
    except OSError as error:
        raise unreadable(path, error) from error
