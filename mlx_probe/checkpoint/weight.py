"""Logical weights: stored tensors viewed as the matrices and vectors of the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from mlx_probe.checkpoint.mapping import MappedFile
from mlx_probe.checkpoint.packing import packing_of
from mlx_probe.naming import classify
from mlx_probe.records import Role, TensorInfo

__all__ = ["MAX_STACK", "Weight", "chunk_extent", "weights_of"]

# Far above any number of experts; keeps a hostile shape from becoming a billion rows.
MAX_STACK = 1 << 16

_CHUNK_ELEMENTS = 1 << 22


def chunk_extent(short: int) -> int:
    """Extent of a chunk along a matrix's long side.

    A rule of the shape alone: sums over chunks must not depend on workers or memory limits.
    Multiples of 1024 cut packed rows between blocks.

    Args:
        short: Extent of the short side, at least 1; 1 for vectors.
    """
    return max(1024, _CHUNK_ELEMENTS // short // 1024 * 1024)


@dataclass(frozen=True)
class Weight:
    """One row of the results: a tensor, or one matrix of a stack of experts.

    Attributes:
        info: The stored tensor.
        role: What it does in the network.
        expert_index: Index in the stack, or the expert that the name tells.
        shape: Shape as stored, without the stack's axis.
        rows: Rows of the matrix; None for what is not viewed as one.
        cols: Columns of the matrix; None for what is not viewed as one.
        start: First byte in the file.
        stop: One past the last byte.
        file: The file that holds the bytes.
    """

    info: TensorInfo
    role: Role
    expert_index: int | None
    shape: tuple[int, ...]
    rows: int | None
    cols: int | None
    start: int
    stop: int
    file: MappedFile

    @property
    def name(self) -> str:
        """Name of the stored tensor."""
        return self.info.name

    @property
    def dtype(self) -> str:
        """Stored type."""
        return self.info.dtype

    @property
    def chunk_dtype(self) -> str:
        """Key of `DTYPES` that `chunks` yields; without meaning where it yields nothing."""
        return packing_of(self.dtype).chunk_dtype(self.dtype)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes as stored."""
        return self.stop - self.start

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Stream the elements, `chunk_extent` along the long side at a time.

        Any number of threads may stream at once. A chunk's memory is given back when the
        next one is asked for: copy what must outlive the loop's body.

        Yields:
            Words of ``DTYPES[chunk_dtype].storage``, of shape (k, cols) for tall and square
            matrices, (rows, k) for wide ones, (k,) for vectors. Plain types come as
            read-only views of the file (strided for wide matrices, not always aligned),
            packed ones unpacked. Nothing for 0-D, empty and unreadable tensors.

        Raises:
            CheckpointError: The file is closed, gone or changed.
        """
        if self.info.problem or not self.shape or not self.numel:
            return
        rows, cols = self.rows or 1, self.cols or self.numel
        packing = packing_of(self.dtype)
        mapped = self.file.map(self.start, self.stop)
        stored = mapped.data.reshape(rows, -1)
        extent = chunk_extent(min(rows, cols))
        tall = rows >= cols
        shape = (-1,) if self.rows is None else (-1, cols) if tall else (rows, -1)
        if not tall:
            elements, nbytes = packing.block(self.dtype)
            extent = extent // elements * nbytes
        for first in range(0, stored.shape[0 if tall else 1], extent):
            after = first + extent
            part = stored[first:after] if tall else stored[:, first:after]
            # Not named, or two unpacked slabs would be in memory at once.
            yield packing.unpack(part, self.dtype).reshape(shape)
            # Column slabs share pages with the next ones: theirs go with the map.
            if part.flags.c_contiguous:
                mapped.release(part)


def weights_of(info: TensorInfo, file: MappedFile) -> tuple[Weight, ...]:
    """View a stored tensor as matrices and vectors.

    A 2-D tensor is a matrix as stored, a 1-D one a vector. Convolutions and everything of
    four and more dimensions are a matrix of (first axis, all others). Any other 3-D tensor
    is a stack with one matrix for each index of the first axis.

    Args:
        info: The tensor.
        file: The file that holds it.

    Returns:
        One weight, or one for each matrix of a stack. A tensor that is empty, 0-D or cannot
        be read is one weight.
    """
    role = classify(info.name)
    stack = len(info.shape) == 3 and role.block_type != "conv"
    if stack and info.shape[0] > MAX_STACK:
        problem = f"a stack of {info.shape[0]} matrices; the limit is {MAX_STACK}"
        info = replace(info, problem=info.problem or problem)
    if stack and info.problem is None and info.numel:
        count, rows, cols = info.shape
        nbytes = info.nbytes // count
        return tuple(
            Weight(
                info,
                role,
                expert_index=index,
                shape=(rows, cols),
                rows=rows,
                cols=cols,
                start=info.start + index * nbytes,
                stop=info.start + (index + 1) * nbytes,
                file=file,
            )
            for index in range(count)
        )
    matrix = len(info.shape) >= 2 and not stack
    return (
        Weight(
            info,
            role,
            expert_index=role.expert_index,
            shape=info.shape,
            rows=info.shape[0] if matrix else None,
            cols=math.prod(info.shape[1:]) if matrix else None,
            start=info.start,
            stop=info.stop,
            file=file,
        ),
    )
