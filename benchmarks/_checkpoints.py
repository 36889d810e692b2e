"""Checkpoints to measure: Gaussian matrices in a file, and the decoded matrices of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

import mlx_probe
from mlx_probe.analysis.bench.workload import matrix_of
from mlx_probe.core.dtypes import DTYPES

__all__ = [
    "Shape",
    "header_of",
    "matrices",
    "nbytes",
    "to_bfloat16",
    "write_bfloat16",
    "write_gaussian",
    "write_header",
]

Shape = tuple[int, ...]


def write_gaussian(path: Path, matrices: Mapping[str, tuple[str, Shape]], seed: int = 0) -> None:
    """A safetensors file of Gaussian tensors of type BF16 or F32, a few rows at a time.

    Args:
        path: The file.
        matrices: Type and shape by name.
        seed: Of their numbers; files of one model need different ones.
    """
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        write_header(file, matrices)
        for dtype, (rows, *others) in matrices.values():
            cols = prod(others)
            for first in range(0, rows, 1024):
                x = 0.02 * rng.standard_normal((min(1024, rows - first), cols), np.float32)
                file.write(x if dtype == "F32" else to_bfloat16(x))


def write_header(file: BinaryIO, tensors: Mapping[str, tuple[str, Shape]]) -> None:
    """The beginning of a safetensors file; the tensors' bytes follow in the same order.

    Args:
        file: Empty.
        tensors: Type and shape by name.
    """
    file.write(header_of(tensors))


def header_of(
    tensors: Mapping[str, tuple[str, Shape]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The beginning of a safetensors file; see `write_header`."""
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + nbytes(dtype, shape)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def write_bfloat16(path: Path, shapes: Mapping[str, Shape], seed: int = 0) -> None:
    """A safetensors file of Gaussian bfloat16 matrices; see `write_gaussian`."""
    write_gaussian(path, {name: ("BF16", shape) for name, shape in shapes.items()}, seed)


def to_bfloat16(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The words of bfloat16, cut off: the upper half of float32."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def nbytes(dtype: str, shape: Shape) -> int:
    """Bytes of a stored tensor."""
    return prod(shape) * DTYPES[dtype].itemsize


def matrices(model: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Label and values of every matrix of numbers of a model, in file order."""
    with mlx_probe.open_checkpoint(model) as checkpoint:
        for weight in checkpoint.weights():
            if weight.has_spectrum:
                yield weight.label, matrix_of(weight, np.float32)
