"""Compressed files as streams: gzip and Zstandard, told by the end of the name."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import BinaryIO, cast

__all__ = ["COMPRESSIONS", "DAMAGED", "decompressed", "without_compression"]

# What the libraries raise for damaged data, beside OSError without a number.
DAMAGED = (EOFError, zlib.error)

_BUFFER = 1 << 20


def _gunzip(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))


def _unzstd(file: BinaryIO) -> BinaryIO:
    import io

    import pyarrow

    stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd")
    return cast(BinaryIO, io.BufferedReader(stream, _BUFFER))


COMPRESSIONS: Mapping[str, Callable[[BinaryIO], BinaryIO]] = {".gz": _gunzip, ".zst": _unzstd}
# One suffix for two.
_SHORT = {".tgz": ".tar.gz", ".tzst": ".tar.zst"}


def without_compression(name: str) -> tuple[str, str]:
    """A file's name without the suffix of its compression, and that suffix or ""."""
    suffix = PurePosixPath(name).suffix
    if long := _SHORT.get(suffix.lower()):
        name, suffix = name.removesuffix(suffix) + long, PurePosixPath(long).suffix
    if suffix.lower() in COMPRESSIONS:
        return name[: -len(suffix)], suffix.lower()
    return name, ""


def decompressed(file: BinaryIO, suffix: str) -> BinaryIO:
    """The content of a file.

    Args:
        file: Open for reading.
        suffix: From `without_compression`.
    """
    return COMPRESSIONS[suffix](file) if suffix else file
