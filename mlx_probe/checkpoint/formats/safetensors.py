"""The safetensors format: a JSON header in front of plain little-endian arrays.

Layout: 8 bytes with the length of the header, the header, the data section. The header maps
every name to its dtype, shape and offsets in the data section.

We parse it ourselves: the safetensors library refuses a whole file for one dtype that numpy
lacks, and it loads the tensors.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from sys import intern
from typing import Any, BinaryIO

from mlx_probe.checkpoint.formats.header import MAX_HEADER, Header, check_shape, in_file_order
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import damaged
from mlx_probe.core.records import TensorInfo

__all__ = ["read_header"]


def read_header(path: Path, file: BinaryIO, size: int) -> Header:
    """Read the header of a safetensors file and nothing else of it.

    Args:
        path: The file's name.
        file: That file, open at its start.
        size: Its size in bytes.

    Returns:
        Its tensors; `TensorInfo.problem` is set for those of unknown dtype.

    Raises:
        CheckpointError: The file is truncated or breaks the format's rules.
        OSError: The file cannot be read.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise damaged(
            path, f"truncated or not safetensors: a header of {length} bytes, a file of {size}"
        )
    if length > MAX_HEADER:
        raise damaged(path, f"the header has {length} bytes, the limit is {MAX_HEADER}")
    text = file.read(length)
    entries = _parse(path, text)
    metadata = _metadata(path, entries.pop("__metadata__", None))
    del text
    # Each entry is freed with its tensor made: a mixture's header has hundreds of thousands.
    tensors = [_tensor(path, name, entries.pop(name), 8 + length) for name in list(entries)]
    return Header("safetensors", in_file_order(path, tensors, size), metadata, size)


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            # Of two equal keys json keeps the last, other readers the first.
            ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
            raise damaged(path, f"the header names {twice!r} twice")
        return entries

    try:
        # Decoded first: json.loads would also take UTF-16.
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise damaged(path, "the header is not a JSON object")
    return header


def _metadata(path: Path, value: Any) -> dict[str, str]:
    if value is None:
        return {}  # MLX writes null for no metadata
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise damaged(path, "__metadata__ is not a map from text to text")
    return value


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    if not _is_unicode(name):
        raise damaged(path, f"tensor {name!r}: its name is no Unicode text")
    match entry:
        case {"dtype": str(dtype), "shape": list(extents), "data_offsets": [begin, end]} if (
            all(_is_size(number) for number in (*extents, begin, end))
            and begin <= end
            and _is_unicode(dtype)
        ):
            shape = tuple(extents)
        case _:
            raise damaged(path, f"tensor {name!r}: no valid dtype, shape and data_offsets")
    check_shape(path, name, shape)
    problem = None if dtype in DTYPES else f"dtype {dtype} is not supported"
    info = TensorInfo(
        name, intern(dtype), shape, path, data_start + begin, data_start + end, problem
    )
    if problem is None and info.nbytes != info.numel * DTYPES[dtype].itemsize:
        raise damaged(
            path,
            f"tensor {name!r}: {info.nbytes} bytes stored, {dtype} {extents} takes "
            f"{info.numel * DTYPES[dtype].itemsize}",
        )
    return info


def _is_unicode(text: str) -> bool:
    """Whether text can be encoded: JSON's escapes can write half a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_size(number: Any) -> bool:
    return type(number) is int and number >= 0  # not isinstance: True is not an extent
