"""Safetensors files, written one tensor after the other.

The safetensors package wants all tensors at once, and as numpy, which has no bfloat16.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

from mlx_probe.core.files import write_all

__all__ = [
    "INDEX",
    "WEIGHTS",
    "StoredTensor",
    "TensorSpec",
    "file_bytes",
    "shard_groups",
    "shards_bytes",
    "write_shards",
    "write_stream",
]

_Spec = TypeVar("_Spec", bound="TensorSpec")

# The data begins at a multiple of it, as the format asks.
ALIGNMENT = 8
# Larger files trouble file systems and downloads; Hugging Face's own limit.
SHARD_BYTES = 5_000_000_000
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class TensorSpec:
    """What the header of a file says of a tensor.

    Attributes:
        name: Its name.
        dtype: Its type in the words of the format.
        shape: Its shape.
        nbytes: Bytes of its elements.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True)
class StoredTensor(TensorSpec):
    """A tensor that is about to be written.

    Attributes:
        data: Gives its elements, piece by piece, when their turn comes.
    """

    data: Callable[[], Iterable[memoryview]]


def _head(tensors: Sequence[TensorSpec], form: str) -> bytes:
    """What stands in a file before the elements."""
    header: dict[str, object] = {"__metadata__": {"format": form}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.nbytes
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def file_bytes(tensors: Sequence[TensorSpec], form: str = "pt") -> int:
    """Size of the file that `write_stream` makes of tensors, to the byte.

    Args:
        tensors: In their order.
        form: See `write_stream`.
    """
    return len(_head(tensors, form)) + sum(tensor.nbytes for tensor in tensors)


def write_stream(path: Path, tensors: Sequence[StoredTensor], form: str = "pt") -> str:
    """Write tensors in their order, and flush them to the disk.

    Args:
        path: The file; it does not exist.
        tensors: One at a time is in memory.
        form: Whose tensors they are: transformers wants to know, and every version understands
            "pt". "mlx" is what mlx-lm writes.

    Returns:
        SHA-256 of the file, as 64 hex digits.

    Raises:
        OSError: The disk refused.
    """
    digest = hashlib.sha256()
    with path.open("xb", buffering=0) as file:
        head: list[bytes | memoryview] = [_head(tensors, form)]
        pieces = chain.from_iterable(tensor.data() for tensor in tensors)
        for data in chain(head, pieces):
            digest.update(data)
            write_all(file, data)
        os.fsync(file.fileno())
    return digest.hexdigest()


def shard_groups(tensors: Iterable[_Spec]) -> list[list[_Spec]]:
    """The tensors of each file that `write_shards` writes.

    Args:
        tensors: All of them, in any order.
    """
    groups: list[list[_Spec]] = [[]]
    size = 0
    for tensor in sorted(tensors, key=lambda each: each.name):
        if groups[-1] and size + tensor.nbytes > SHARD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.nbytes
    return groups


def shards_bytes(tensors: Iterable[TensorSpec], form: str = "pt") -> int:
    """Size of all files with weights that `write_shards` makes of tensors, to the byte.

    Args:
        tensors: All of them, in any order.
        form: See `write_stream`.
    """
    return sum(file_bytes(group, form) for group in shard_groups(tensors))


def write_shards(
    folder: Path, tensors: Iterable[StoredTensor], form: str = "pt"
) -> tuple[Path, ...]:
    """Write a model's tensors in Hugging Face's layout: one file, or shards with their index.

    Args:
        folder: Where.
        tensors: All of them; they are written in the order of their names.
        form: See `write_stream`.

    Returns:
        The files with weights.

    Raises:
        OSError: The disk refused.
    """
    groups = shard_groups(tensors)
    whole = sum(tensor.nbytes for group in groups for tensor in group)
    total = len(groups)
    files = [f"model-{i + 1:05}-of-{total:05}.safetensors" for i in range(total)]
    if total == 1:
        files = [WEIGHTS]
    for file, group in zip(files, groups, strict=True):
        write_stream(folder / file, group, form)
    if total > 1:
        pairs = zip(files, groups, strict=True)
        places = {tensor.name: file for file, group in pairs for tensor in group}
        index = {"metadata": {"total_size": whole}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    return tuple(folder / file for file in files)
