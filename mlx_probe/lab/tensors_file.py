"""MLX's arrays in a safetensors file.

MLX's own writer says of a full disk only that it could not write, and orders the tensors by
chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_probe.lab.tensor_stream import StoredTensor, write_stream

__all__ = ["stored", "write_tensors"]

DTYPES = {
    mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16",
    mx.uint64: "U64", mx.uint32: "U32", mx.uint16: "U16", mx.uint8: "U8",
    mx.int64: "I64", mx.int32: "I32", mx.int16: "I16", mx.int8: "I8", mx.bool_: "BOOL",
}  # fmt: skip


def stored(name: str, array: mx.array, dtype: mx.Dtype | None = None) -> StoredTensor:
    """An array as a tensor of a file.

    Args:
        name: Its name there.
        array: Of the types in `DTYPES`.
        dtype: A type that it is written in; None for its own.
    """
    kind = dtype or array.dtype
    return StoredTensor(
        name,
        DTYPES[kind],
        tuple(array.shape),
        array.size * kind.size,
        lambda: [_bytes(array.astype(kind))],
    )


def write_tensors(path: Path, arrays: Mapping[str, mx.array]) -> str:
    """Write arrays in their order, and flush them to the disk; see `write_stream`."""
    return write_stream(path, [stored(name, array) for name, array in arrays.items()])


def _bytes(array: mx.array) -> memoryview:
    """A view of an array's own memory; a scalar has one element."""
    flat: Any = mx.contiguous(array.reshape(-1)).view(mx.uint8)
    return memoryview(flat)
