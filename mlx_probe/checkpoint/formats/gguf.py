"""The GGUF format, versions 2 and 3: typed key-value pairs, a tensor table, aligned data.

We parse it ourselves: `gguf.GGUFReader` makes an object for every token of the tokenizer, which
takes 2.3 s for the 135 M parameter SmolLM2; this takes less than a tenth.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, NamedTuple

from mlx_probe.checkpoint.formats.cursor import Cursor
from mlx_probe.checkpoint.formats.header import MAX_RANK, Header, Part, check_shape, in_file_order
from mlx_probe.checkpoint.packings.ggml import block_type
from mlx_probe.core.errors import damaged
from mlx_probe.core.records import TensorInfo

__all__ = ["read_array", "read_header"]

# GGUF's value types.
_SCALARS = {number: Struct(f"<{code}") for number, code in enumerate("BbHhIif?")} | {
    10: Struct("<Q"),
    11: Struct("<q"),
    12: Struct("<d"),
}
_STRING, _ARRAY = 8, 9
# The fewest bytes of a pair, a table entry, a string and an array.
_PAIR, _ENTRY, _TEXT, _LIST = 8 + 4 + 1, 8 + 4 + 4 + 8, 8, 4 + 8
_MAX_DEPTH = 4


class _Entry(NamedTuple):
    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


def read_header(path: Path, file: BinaryIO, size: int) -> Header:
    """Read the header of a GGUF file and nothing else of it.

    Args:
        path: The file's name.
        file: That file, open at its start.
        size: Its size in bytes.

    Returns:
        Its tensors, with shapes in PyTorch order; `TensorInfo.problem` is set for those of types
        that cannot be decoded. The metadata holds scalars and strings, no arrays.

    Raises:
        CheckpointError: The file is truncated or breaks the format's rules.
        OSError: The file cannot be read.
    """
    cursor = Cursor(path, file, size)
    _check_version(path, cursor)
    entry_count = cursor.count(_ENTRY, "tensors")
    metadata = _read_pairs(path, cursor)
    entries = _read_entries(path, cursor, entry_count)
    alignment = _alignment(path, metadata)
    data_start = -(-cursor.position // alignment) * alignment
    tensors = _locate(path, entries, alignment, data_start, size)
    ordered = in_file_order(path, tensors, size)
    return Header("gguf", ordered, metadata, size, _part(path, metadata))


def read_array(path: Path, file: BinaryIO, size: int, wanted: str) -> list[Any]:
    """An array in a GGUF file's metadata, such as the tokenizer's tokens.

    Args:
        path: The file's name.
        file: That file, open at its start.
        size: Its size in bytes.
        wanted: The array's key.

    Returns:
        Its strings or numbers; none where the file has no such array. Bytes that are no UTF-8 are
        replaced.

    Raises:
        CheckpointError: The file is truncated or breaks the format's rules.
        OSError: The file cannot be read.
    """
    cursor = Cursor(path, file, size)
    _check_version(path, cursor)
    cursor.count(_ENTRY, "tensors")
    for _ in range(cursor.count(_PAIR, "key-value pairs")):
        key, kind = cursor.string(), cursor.u32()
        if key == wanted:
            return _read_items(cursor) if kind == _ARRAY else []
        if kind in _SCALARS:
            cursor.scalar(_SCALARS[kind])
        elif kind == _STRING:
            cursor.skip_strings(1)
        elif kind == _ARRAY:
            _skip_array(path, cursor, key)
        else:
            raise damaged(path, f"metadata {key!r} has the unknown type {kind}")
    return []


def _read_items(cursor: Cursor) -> list[Any]:
    kind = cursor.u32()
    if kind == _STRING:
        return [cursor.string("replace") for _ in range(cursor.count(_TEXT, "strings"))]
    if kind in _SCALARS:
        form = _SCALARS[kind]
        return [cursor.scalar(form) for _ in range(cursor.count(form.size, "numbers"))]
    return []


def _check_version(path: Path, cursor: Cursor) -> None:
    if cursor.u32() != int.from_bytes(b"GGUF", "little"):
        raise damaged(path, "not a GGUF file: it does not begin with GGUF")
    version = cursor.u32()
    if version and not version & 0xFFFF:
        raise damaged(path, "big-endian GGUF", "Convert it with gguf-convert-endian")
    if version not in (2, 3):
        raise damaged(
            path,
            f"GGUF version {version} is not supported",
            "Convert the model again with a current llama.cpp (version 3)",
        )


def _read_pairs(path: Path, cursor: Cursor) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    seen = set()
    for _ in range(cursor.count(_PAIR, "key-value pairs")):
        key, kind = cursor.string(), cursor.u32()
        if key in seen:
            raise damaged(path, f"the metadata names {key!r} twice")
        seen.add(key)
        if kind in _SCALARS:
            pairs[key] = cursor.scalar(_SCALARS[kind])
        elif kind == _STRING:
            pairs[key] = cursor.string(errors="replace")
        elif kind == _ARRAY:
            _skip_array(path, cursor, key)
        else:
            raise damaged(path, f"metadata {key!r} has the unknown type {kind}")
    return pairs


def _skip_array(path: Path, cursor: Cursor, key: str, depth: int = 1) -> None:
    kind = cursor.u32()
    if kind in _SCALARS:
        form = _SCALARS[kind]
        cursor.advance(cursor.count(form.size, "numbers") * form.size)
    elif kind == _STRING:
        cursor.skip_strings(cursor.count(_TEXT, "strings"))
    elif kind == _ARRAY and depth < _MAX_DEPTH:
        for _ in range(cursor.count(_LIST, "arrays")):
            _skip_array(path, cursor, key, depth + 1)
    else:
        raise damaged(path, f"metadata {key!r} has an array of type {kind} at depth {depth}")


def _read_entries(path: Path, cursor: Cursor, count: int) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    for _ in range(count):
        name, rank = cursor.string(), cursor.u32()
        if name in entries:
            raise damaged(path, f"tensor {name!r} is listed twice")
        if rank > MAX_RANK:
            raise damaged(path, f"tensor {name!r}: {rank} dimensions are too many")
        # GGUF lists the contiguous dimension first.
        shape = tuple(reversed([cursor.u64() for _ in range(rank)]))
        check_shape(path, name, shape)
        entries[name] = _Entry(name, shape, cursor.u32(), cursor.u64())
    return list(entries.values())


def _alignment(path: Path, metadata: Mapping[str, Any]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 8 or alignment & (alignment - 1):
        raise damaged(path, f"general.alignment {alignment!r} is not a power of two from 8 on")
    return alignment


def _part(path: Path, metadata: Mapping[str, Any]) -> Part | None:
    """Which part of a model that llama.cpp split the file is."""
    number, count, tensors = (metadata.get(f"split.{k}") for k in ("no", "count", "tensors.count"))
    if type(count) is not int or count < 2:
        return None
    if type(number) is not int or not 0 <= number < count:
        raise damaged(path, f"split.no {number!r} of {count} parts")
    return Part(number, count, tensors if type(tensors) is int else None)


def _locate(
    path: Path, entries: list[_Entry], alignment: int, data_start: int, size: int
) -> list[TensorInfo]:
    starts = sorted(data_start + entry.offset for entry in entries)
    tensors = []
    for entry in entries:
        if entry.offset % alignment:
            raise damaged(path, f"tensor {entry.name!r} is not aligned to {alignment} bytes")
        kind = block_type(entry.type)
        start = data_start + entry.offset
        if kind.nbytes:
            stop = start + _stored_bytes(path, entry)
        else:
            following = bisect_right(starts, start)
            stop = max(start, starts[following] if following < len(starts) else size)
        tensors.append(
            TensorInfo(entry.name, kind.name, entry.shape, path, start, stop, kind.problem)
        )
    return tensors


def _stored_bytes(path: Path, entry: _Entry) -> int:
    kind = block_type(entry.type)
    row = entry.shape[-1] if entry.shape else 1
    if row % kind.elements:
        raise damaged(
            path,
            f"tensor {entry.name!r}: rows of {row} elements are not whole blocks of "
            f"{kind.elements} ({kind.name})",
        )
    return math.prod(entry.shape) // kind.elements * kind.nbytes
