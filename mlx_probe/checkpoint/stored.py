"""A stored tensor's bytes: their range in the file, and an array of words."""

from __future__ import annotations

from math import prod
from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from mlx_probe.checkpoint.mapping import MappedFile, MappedRange
from mlx_probe.checkpoint.ranged import UNMAPPED, RangedFile, RangedWords
from mlx_probe.core.dtypes import DTYPES, SCALE_DTYPE
from mlx_probe.core.errors import PackingError, damaged
from mlx_probe.core.records import TensorInfo

__all__ = ["byte_range", "words_of"]

_BYTES = np.dtype(np.uint8)


def byte_range(info: TensorInfo, index: int | None) -> tuple[int, int]:
    """First byte and one past the last of a tensor, or of one matrix of a stack.

    Args:
        info: The tensor.
        index: Index along its first axis; None for the whole tensor. The range of a deflated
            tensor is always that of the whole.
    """
    if index is None or info.inflated is not None:
        return info.start, info.stop
    if info.strides is None:
        nbytes = info.nbytes // info.shape[0]
        return info.start + index * nbytes, info.start + (index + 1) * nbytes
    item = _storage(info).itemsize
    start = info.start + index * info.strides[0] * item
    return start, start + _span(info.shape[1:], info.strides[1:]) * item


def words_of(
    info: TensorInfo, file: MappedFile, index: int | None
) -> tuple[NDArray[Any], MappedRange]:
    """Map a tensor, or one matrix of a stack.

    Args:
        info: The tensor, not empty.
        file: The file that holds it.
        index: Index along its first axis; None for the whole tensor.

    Returns:
        Read-only words in the stored shape without the stack's axis (rows of bytes for types
        that are not in `DTYPES`), and the map that holds them. Of a `RangedFile`, what stands
        for the words until their rows are asked for.

    Raises:
        CheckpointError: The file is closed, gone, changed, or cannot be inflated.
        PackingError: A remote tensor is deflated, or not in C order.
    """
    if isinstance(file, RangedFile):
        return cast("NDArray[Any]", _ranged(info, file, index)), cast(MappedRange, UNMAPPED)
    shape = info.shape if index is None else info.shape[1:]
    start, stop = byte_range(info, index)
    storage = _storage(info)
    if info.inflated is None:
        mapped = file.map(start, stop)
        data = mapped.data
    else:
        mapped = file.inflate(start, stop, info.inflated)
        # A header comes before the array.
        data = mapped.data[mapped.data.size - prod(info.shape) * storage.itemsize :]
        if index is not None:
            step = prod(shape) if info.strides is None else info.strides[0]
            data = data[index * step * storage.itemsize :]
    if info.dtype not in (*DTYPES, SCALE_DTYPE):
        return data.reshape(prod(shape[:-1]), -1), mapped
    if info.strides is None:
        return data[: prod(shape) * storage.itemsize].view(storage).reshape(shape), mapped
    strides = info.strides if index is None else info.strides[1:]
    if _span(shape, strides) * storage.itemsize > data.size:
        raise damaged(info.shard, f"tensor {info.name!r} reaches beyond its bytes")
    steps = tuple(step * storage.itemsize for step in strides)
    return as_strided(data.view(storage), shape, steps, writeable=False), mapped


def _ranged(info: TensorInfo, file: RangedFile, index: int | None) -> RangedWords:
    """A tensor on a server, or one matrix of a stack; nothing is read yet."""
    if info.inflated is not None or info.strides is not None:
        how = "deflated" if info.inflated is not None else "not in the order of its rows"
        raise PackingError(f"{info.name}: it is stored {how}, and only rows are read remotely")
    shape = info.shape if index is None else info.shape[1:]
    start, stop = byte_range(info, index)
    if info.dtype not in (*DTYPES, SCALE_DTYPE):
        rows = prod(shape[:-1])
        shape = rows, (stop - start) // rows
    return RangedWords(info.name, file.read, start, _storage(info), shape)


def _storage(info: TensorInfo) -> np.dtype[np.generic]:
    return DTYPES[info.dtype].storage if info.dtype in DTYPES else _BYTES


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first to the last that a strided view touches."""
    return 1 + sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
