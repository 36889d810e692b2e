"""The types that elements are written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.elements import read_elements, require_floats, slabs

__all__ = ["BLOCK", "TYPES", "check_type", "interleave", "is_packed", "nbytes_of", "read_as"]

# By the value of --type: the name in files. That of an unpacked type is a key of `DTYPES` too.
TYPES: Mapping[str, str] = {
    "f32": "F32",
    "f16": "F16",
    "bf16": "BF16",
    "q8_0": "Q8_0",
    "q5_1": "Q5_1",
    "q5_0": "Q5_0",
    "q4_1": "Q4_1",
    "q4_0": "Q4_0",
}
# Numbers of a row that share one scale, in all packed types of `TYPES`.
BLOCK = 32
# How many times the scale the largest number of a block is; 1 for types that store a number itself.
_PARTS = {"Q8_0": 127, "Q5_0": 16, "Q4_0": 8}


def check_type(kind: str) -> None:
    """Refuse a type that is not written.

    Args:
        kind: Key of `TYPES`, or "auto".

    Raises:
        ConfigError: With the types that are.
    """
    if kind in ("auto", *TYPES):
        return
    raise ConfigError(
        f"type {kind} is not written: the gguf package has no Python code that packs it",
        f"Choose auto, {', '.join(TYPES)}; llama.cpp's llama-quantize makes others of an f32 file",
    )


def is_packed(dtype: str) -> bool:
    """Whether numbers of this type share scales."""
    return dtype not in DTYPES


def nbytes_of(shape: Sequence[int], dtype: str) -> int:
    """Bytes of a tensor's elements."""
    if not is_packed(dtype):
        return prod(shape) * DTYPES[dtype].itemsize
    return prod(shape) // BLOCK * _block_bytes(dtype)


def read_as(weight: Weight, dtype: str) -> NDArray[Any]:
    """All elements of a weight in another type; those of the type that it has keep their bits.

    Args:
        weight: Any weight of floats; packed ones are unpacked.
        dtype: Value of `TYPES`.

    Returns:
        New memory. Words of ``DTYPES[dtype].storage`` in the shape of the weight; of a packed type
        the bytes of its blocks, one row for each row of the weight.

    Raises:
        CheckpointError: It cannot be read, or holds no floats.
        ConfigError: A finite number is beyond the type.
    """
    if not is_packed(dtype):
        return read_elements(weight, dtype)
    require_floats(weight)
    rows, columns = weight.extents
    size = _block_bytes(dtype)
    words = np.empty((rows, columns // BLOCK * size), np.uint8)
    # Chunks of a wide matrix begin and end at multiples of 1,024 columns: at whole blocks.
    for lines, across, chunk in slabs(weight):
        blocks = slice(across.start // BLOCK * size, across.stop // BLOCK * size)
        words[lines, blocks] = _quantized(decode(chunk, weight.chunk_dtype), dtype, weight.name)
    return words


def _quantized(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import quantize

    single = np.ascontiguousarray(values, np.float32)
    # One number that is not finite would take its whole block with it.
    largest = np.abs(single).max(initial=0.0)
    if not np.isfinite(largest):
        raise CheckpointError(
            f"{name} holds NaN or Inf, which {dtype} cannot hold",
            "Choose --type f32, f16 or bf16; `mlx-probe analyze` counts such numbers",
        )
    # Scales and smallest numbers of blocks are float16.
    if largest / _PARTS.get(dtype, 1) > np.finfo(np.float16).max:
        raise ConfigError(
            f"{name} holds {largest:g}, which is beyond {dtype}",
            "Choose bfloat16 or float32",
        )
    stored: NDArray[Any] = quantize(single, GGMLQuantizationType[dtype])
    return stored


def _block_bytes(dtype: str) -> int:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    return int(GGML_QUANT_SIZES[GGMLQuantizationType[dtype]][1])


def interleave(matrix: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of a query or key projection in llama.cpp's order.

    Rotary embeddings turn pairs of coordinates. Hugging Face pairs row i of a head with row
    i + d/2; llama.cpp's `llama` pairs neighbours, as the original does (Su et al. 2021,
    arXiv 2104.09864). Queries and keys change alike, so that no product of the two changes.

    Args:
        matrix: (heads * d, columns), Hugging Face's order.
        heads: How many heads the rows are.

    Returns:
        The same rows: i of a head at 2 i, i + d/2 at 2 i + 1.
    """
    rows, columns = matrix.shape
    halves = matrix.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)
