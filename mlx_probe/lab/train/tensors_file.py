"""Arrays in a safetensors file, written to the disk and hashed in one pass.

MLX's own writer says of a full disk only that it could not write: the reason is lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_probe.core.files import write_all

__all__ = ["write_tensors"]

_DTYPES = {
    mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16",
    mx.uint64: "U64", mx.uint32: "U32", mx.int32: "I32", mx.int64: "I64",
}  # fmt: skip
# The data begins at a multiple of it.
_ALIGNMENT = 8


def write_tensors(path: Path, arrays: Mapping[str, mx.array]) -> str:
    """Write arrays by name, and flush them to the disk.

    Args:
        path: The file; it does not exist.
        arrays: Of a type that safetensors has.

    Returns:
        SHA-256 of the file, as 64 hex digits.

    Raises:
        OSError: The disk refused.
    """
    header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
    end = 0
    # In the order of the names: a tree that was read has another order than a new one.
    ordered = sorted(arrays.items())
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _DTYPES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    digest = hashlib.sha256()
    with path.open("xb", buffering=0) as file:
        for data in (len(text).to_bytes(8, "little"), text):
            digest.update(data)
            write_all(file, data)
        for _, array in ordered:
            # A view of the array's own memory; a scalar has one element.
            view: Any = mx.contiguous(array.reshape(-1)).view(mx.uint8)
            digest.update(memoryview(view))
            write_all(file, memoryview(view))
        os.fsync(file.fileno())
    return digest.hexdigest()
