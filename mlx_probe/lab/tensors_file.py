"""Arrays in a safetensors file.

MLX's own writer says of a full disk only that it could not write, and orders the tensors by
chance; the safetensors package wants numpy, which has no bfloat16.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_probe.core.files import write_all

__all__ = ["write_tensors"]

DTYPES = {
    mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16",
    mx.uint64: "U64", mx.uint32: "U32", mx.int64: "I64", mx.int32: "I32",
}  # fmt: skip
# The data begins at a multiple of it, as the format asks.
ALIGNMENT = 8


def write_tensors(path: Path, arrays: Mapping[str, mx.array]) -> str:
    """Write arrays in their order, and flush them to the disk.

    Args:
        path: The file; it does not exist.
        arrays: Of the types in `DTYPES`, by name.

    Returns:
        SHA-256 of the file, as 64 hex digits.

    Raises:
        OSError: The disk refused.
    """
    # transformers wants to know who wrote the tensors; "pt" is understood by every version.
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": DTYPES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    digest = hashlib.sha256()
    with path.open("xb", buffering=0) as file:
        head: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text]
        for data in chain(head, map(_bytes, arrays.values())):
            digest.update(data)
            write_all(file, data)
        os.fsync(file.fileno())
    return digest.hexdigest()


def _bytes(array: mx.array) -> memoryview:
    """A view of an array's own memory; a scalar has one element."""
    flat: Any = mx.contiguous(array.reshape(-1)).view(mx.uint8)
    return memoryview(flat)
