"""The elements of a weight in another type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.errors import CheckpointError, ConfigError

__all__ = ["converted", "read_elements", "require_floats", "slabs"]


def read_elements(weight: Weight, dtype: str) -> NDArray[Any]:
    """All elements of a weight in another type; those of the type that it has keep their bits.

    Args:
        weight: Any weight of floats; packed ones are unpacked.
        dtype: "F32", "F16" or "BF16".

    Returns:
        Words of ``DTYPES[dtype].storage`` in the shape of the weight: new memory.

    Raises:
        CheckpointError: It cannot be read, or holds no floats.
        ConfigError: A finite number is beyond the type.
    """
    require_floats(weight)
    source = weight.chunk_dtype
    words: NDArray[Any] = np.empty(weight.extents, DTYPES[dtype].storage)
    for lines, across, chunk in slabs(weight):
        same = source == dtype
        words[lines, across] = (
            chunk if same else converted(decode(chunk, source), dtype, weight.name)
        )
    return words.reshape(weight.shape)


def require_floats(weight: Weight) -> None:
    """Refuse a weight that cannot be read, or is none of numbers.

    Raises:
        CheckpointError: The reason.
    """
    if weight.problem is not None:
        raise CheckpointError(
            f"{weight.name} cannot be read: {weight.problem}",
            "Get the model in a layout that `mlx-probe inspect` reads",
        )
    if DTYPES[weight.chunk_dtype].kind != "float":
        raise CheckpointError(
            f"{weight.name} holds {weight.chunk_dtype}, no floats",
            "Give the model with its original weights",
        )


def slabs(weight: Weight) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
    """Rows, columns and stored words of each chunk of a weight; a vector is one row."""
    rows, columns = weight.extents
    tall = weight.rows is not None and weight.tall
    start = 0
    for chunk in weight.chunks():
        chunk = np.atleast_2d(chunk)
        stop = start + chunk.shape[0 if tall else 1]
        if tall:
            yield slice(start, stop), slice(0, columns), chunk
        else:
            yield slice(0, rows), slice(start, stop), chunk
        start = stop


def converted(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    """Numbers in another type, rounded to the nearest, ties to even.

    Args:
        values: Any numbers.
        dtype: "F32", "F16" or "BF16".
        name: Of the tensor, for the message.

    Returns:
        Words of ``DTYPES[dtype].storage``.

    Raises:
        ConfigError: A finite number is beyond the type.
    """
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import quantize

    # Numbers beyond the type become infinite, which is looked at below.
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.ascontiguousarray(values, np.float32)
        stored: NDArray[Any] = quantize(single, GGMLQuantizationType[dtype])
        stored = stored.view(DTYPES[dtype].storage)
        lost = np.isinf(decode(stored, dtype)) & np.isfinite(values)
    if lost.any():
        raise ConfigError(
            f"{name} holds {values[lost][0]:g}, which is beyond {dtype}",
            "Choose bfloat16 or float32",
        )
    return stored
