"""The types that elements are written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.errors import CheckpointError, ConfigError

__all__ = ["TYPES", "interleave", "read_as"]

# By the value of --type: the name in files, which is a key of `DTYPES` too.
TYPES: Mapping[str, str] = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


def read_as(weight: Weight, dtype: str) -> NDArray[Any]:
    """All elements of a weight in another type; those of the type that it has keep their bits.

    Args:
        weight: Any weight of floats; packed ones are unpacked.
        dtype: Value of `TYPES`.

    Returns:
        Words of ``DTYPES[dtype].storage`` in the shape of the weight: new memory.

    Raises:
        CheckpointError: It cannot be read, or holds no floats.
        ConfigError: A finite number is beyond the type.
    """
    if weight.problem is not None:
        raise CheckpointError(
            f"{weight.name} cannot be read: {weight.problem}",
            "Get the model in a layout that `mlx-probe inspect` reads",
        )
    source = weight.chunk_dtype
    if DTYPES[source].kind != "float":
        raise CheckpointError(
            f"{weight.name} holds {source}, no floats", "Give the model with its original weights"
        )
    words: NDArray[Any] = np.empty(weight.extents, DTYPES[dtype].storage)
    # Chunks run along the long side; a vector is one row.
    along = 0 if weight.rows is not None and weight.tall else 1
    start = 0
    for chunk in weight.chunks():
        chunk = np.atleast_2d(chunk)
        stop = start + chunk.shape[along]
        block = chunk if source == dtype else _converted(decode(chunk, source), dtype, weight.name)
        words[
            (slice(start, stop), slice(None)) if along == 0 else (slice(None), slice(start, stop))
        ] = block
        start = stop
    return words.reshape(weight.shape)


def _converted(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import quantize

    # Numbers beyond the type become infinite, which is looked at below.
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.ascontiguousarray(values, np.float32)
        stored = quantize(single, GGMLQuantizationType[dtype]).view(DTYPES[dtype].storage)
        lost = np.isinf(decode(stored, dtype)) & np.isfinite(values)
    if lost.any():
        raise ConfigError(
            f"{name} holds {values[lost][0]:g}, which is beyond {dtype}",
            "Choose --type bf16 or --type f32",
        )
    return stored


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
