"""Logical weights: parameters viewed as the matrices and vectors of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.architecture import Architecture
from mlx_probe.checkpoint.fused import Part, split_of
from mlx_probe.checkpoint.mapping import MappedFile, MappedRange
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.packings.protocol import Index, Piece, positions
from mlx_probe.checkpoint.parameter import Parameter
from mlx_probe.checkpoint.stored import byte_range, words_of
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.encoding import Encoded, Encoding
from mlx_probe.core.records import Role

__all__ = ["MAX_STACK", "Weight", "chunk_extent", "weights_of"]

# Far above any number of experts: a hostile shape must not become a billion rows.
MAX_STACK = 1 << 16

_CHUNK_ELEMENTS = 1 << 22

# Words in the block types of parameters that have three axes and are one matrix.
_SINGLE = ("conv", "embedding", "token")

# Elements that are unpacked at a time: few enough that intermediate arrays fit into the cache.
# A multiple of 1024, where rows may be cut.
_BLOCK_ELEMENTS = 1 << 17


def chunk_extent(short: int) -> int:
    """Extent of a chunk along a matrix's long side.

    It depends on the shape only: sums over chunks must not depend on workers or memory limits.
    Multiples of 1024 cut packed rows between blocks.

    Args:
        short: Extent of the short side, at least 1; 1 for vectors.
    """
    return max(1024, _CHUNK_ELEMENTS // short // 1024 * 1024)


@dataclass(frozen=True, slots=True)  # a large model has hundreds of thousands
class Weight:
    """One row of the results: a parameter, one matrix of a stack, or a part of a fused one.

    Attributes:
        parameter: The parameter.
        role: Its role in the network.
        expert_index: Index in the stack, or the number of the expert in the name.
        shape: Logical shape, without the stack's axis; for a part, the part's shape.
        rows: Rows of the matrix; None if it is not viewed as a matrix.
        cols: Columns of the matrix; None if it is not viewed as a matrix.
        files: The files that hold the bytes.
        stack_index: Index along the stack's axis; None if it is not in a stack.
        part: The part of a fused matrix; None for a whole one. The fused matrix has a row too,
            with the same elements.
        unsplit: Why a fused matrix has no parts; None if it has, or is not fused.
    """

    parameter: Parameter
    role: Role
    expert_index: int | None
    shape: tuple[int, ...]
    rows: int | None
    cols: int | None
    files: Mapping[Path, MappedFile]
    stack_index: int | None = None
    part: Part | None = None
    unsplit: str | None = None

    @property
    def name(self) -> str:
        """Name of the parameter."""
        return self.parameter.name

    @property
    def label(self) -> str:
        """A unique name: the parameter's, with expert and part."""
        expert = "" if self.stack_index is None else f"[{self.stack_index}]"
        return self.name + expert + (f" ({self.part.name})" if self.part else "")

    @property
    def dtype(self) -> str:
        """Stored type."""
        return self.parameter.dtype

    @property
    def chunk_dtype(self) -> str:
        """Key of `DTYPES`: the type that `chunks` yields; undefined if it yields nothing."""
        return self.parameter.chunk_dtype

    @property
    def problem(self) -> str | None:
        """Why it cannot be read; None if it can."""
        return self.parameter.problem

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def extents(self) -> tuple[int, int]:
        """Rows and columns, each at least 1; anything but a matrix is one row of all elements."""
        return self.rows or 1, self.cols or max(self.numel, 1)

    @property
    def short(self) -> int:
        """The smaller one of `extents`; 1 for a vector."""
        return min(self.extents)

    @property
    def long(self) -> int:
        """The larger one of `extents`; the number of elements for a vector."""
        return max(self.extents)

    @property
    def tall(self) -> bool:
        """Whether the rows are the long side, so that chunks are whole rows; true if square."""
        rows, cols = self.extents
        return rows >= cols

    @property
    def has_spectrum(self) -> bool:
        """Whether singular values are defined: a readable, non-empty matrix of floats."""
        if self.problem is not None or self.rows is None or not self.numel:
            return False
        return DTYPES[self.chunk_dtype].kind == "float"

    @property
    def nbytes(self) -> int:
        """Bytes as stored; for a stacked matrix or a part, its share of the parameter's."""
        whole = self.parameter.numel
        return self.parameter.nbytes * self.numel // whole if whole else self.parameter.nbytes

    @property
    def resident_bytes(self) -> int:
        """Bytes of the file that may stay in memory until the last chunk is read."""
        return 0 if self._by_rows else self.nbytes

    @property
    def _by_rows(self) -> bool:
        """Whether chunks are rows of the file: their pages are released after they are read."""
        strided = any(piece.strides is not None for piece in self.parameter.pieces)
        wide = self.rows is not None and not self.tall
        if strided or wide or not self.parameter.row_major:
            return False
        return self.part is None or (self.part.axis == 0 and self.part.contiguous)

    def byte_ranges(self) -> tuple[tuple[Path, int, int], ...]:
        """File, first byte and one past the last of every piece that the values come from."""
        pieces = self.parameter.pieces
        return tuple((piece.shard, *byte_range(piece, self.stack_index)) for piece in pieces)

    def prefetch(self) -> None:
        """Ask the system to read the bytes ahead; an unreadable file is not an error yet."""
        for path, start, stop in self.byte_ranges() if self.problem is None else ():
            self.files[path].prefetch(start, stop)

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Stream the elements, `chunk_extent` along the long side at a time.

        Any number of threads may stream at once. A chunk's memory is released when the next
        chunk is requested: copy what must outlive the loop's body.

        Yields:
            Words of ``DTYPES[chunk_dtype].storage``, of shape (k, cols) for tall and square
            matrices, (rows, k) for wide ones, (k,) for vectors. Plain types are read-only views
            of the file (strided for wide matrices, not always aligned); packed types are
            unpacked. Nothing for 0-D, empty and unreadable tensors.

        Raises:
            CheckpointError: The file is closed, gone or changed.
            PackingError: Pieces of a packed weight contradict each other.
        """
        for pieces, lines, across, shape in self._slabs():
            # Without a variable: it would keep one slab while the next one is unpacked.
            yield self._elements(pieces, lines, across).reshape(shape)

    def values(self) -> Iterator[NDArray[Any]]:
        """Stream the elements as numbers, in the slabs of `chunks`.

        Yields:
            Arrays of the shapes of `chunks`, in the narrowest numpy type that holds every value.
            Plain types are views of the file: copy what must outlive the loop's body.

        Raises:
            CheckpointError: The file is closed, gone or changed.
            PackingError: Pieces of a packed weight contradict each other.
        """
        for chunk in self.chunks():
            yield decode(chunk, self.chunk_dtype)

    def block(self, first: int, last: int) -> NDArray[Any]:
        """Rows of the matrix, or elements of a vector, as numbers; only their pages are read.

        Args:
            first: First row of a matrix; first element of a vector, of a packed one 0.
            last: One past the last, more than ``first``; of a packed vector its end.

        Returns:
            Shape (last - first, cols), or (last - first,), in the type that `values` yields.

        Raises:
            CheckpointError: The file is closed, gone or changed.
            PackingError: Pieces of a packed weight contradict each other.
        """
        pieces, _ = self._open()
        lines: Index = slice(first, last)
        across: Index = slice(0, self.extents[1])
        if self.rows is None:
            lines, across = slice(0, 1), lines
        elif self.part is not None:
            lines, across = self.part.source(lines, across)
        # A copy.
        values = np.array(decode(self._elements(pieces, lines, across), self.chunk_dtype))
        return values[0] if self.rows is None else values

    @property
    def encoding(self) -> Encoding | None:
        """What a backend needs to unpack it by itself; None if only `chunks` can."""
        whole = self.rows is not None and (self.part is None or self.part.contiguous)
        return self.parameter.encoding if whole else None

    def encoded_chunks(self) -> Iterator[Encoded]:
        """Stream the words of the same chunks as `chunks`, still packed.

        Yields:
            Blocks of a weight that has an `encoding`.

        Raises:
            CheckpointError: The file is closed, gone or changed.
        """
        encoding = self.encoding
        assert encoding is not None
        for pieces, lines, across, _ in self._slabs():
            assert isinstance(lines, slice)
            assert isinstance(across, slice)
            words, dtypes = zip(*((piece.words, piece.dtype) for piece in pieces), strict=True)
            unpack = partial(self._elements, pieces, lines, across)
            yield Encoded(encoding, words, dtypes, lines, across, unpack)

    def _slabs(self) -> Iterator[tuple[list[Piece], Index, Index, tuple[int, ...]]]:
        """The pieces, with rows, columns and shape of each chunk; pages are released after it."""
        if self.problem or not self.shape or not self.numel:
            return
        pieces, maps = self._open()
        (rows, cols), tall = self.extents, self.tall
        extent = chunk_extent(self.short)
        for first in range(0, self.long, extent):
            last = min(first + extent, self.long)
            lines: Index = slice(first, last) if tall else slice(0, rows)
            across: Index = slice(0, cols) if tall else slice(first, last)
            if self.part is not None:
                lines, across = self.part.source(lines, across)
            shape = (last - first, cols) if tall else (rows, last - first)
            yield pieces, lines, across, (-1,) if self.rows is None else shape
            # Pages with columns also hold the next columns: they are released with the map.
            if self._by_rows:
                for piece, mapped in zip(pieces, maps, strict=True):
                    if piece.words.shape[:1] == pieces[0].words.shape[:1]:
                        mapped.release(piece.words[lines] if tall else piece.words[:, across])

    def _open(self) -> tuple[list[Piece], list[MappedRange]]:
        """Map the pieces; a single one as rows of the matrix, a vector as one row."""
        pieces, maps = [], []
        for info in self.parameter.pieces:
            words, mapped = words_of(info, self.files[info.shard], self.stack_index)
            # A single piece has the rows of the matrix; several pieces have different shapes.
            # A fused weight is a matrix already.
            if len(self.parameter.pieces) == 1 and self.part is None:
                words = words.reshape(self.rows or 1, -1)
            pieces.append(Piece(words, info.dtype))
            maps.append(mapped)
        return pieces, maps

    def _elements(self, pieces: Sequence[Piece], rows: Index, cols: Index) -> NDArray[Any]:
        decode = self.parameter.decode
        if decode is None:
            return pieces[0].words[rows, cols]
        # `split_of` cuts packed matrices along their rows only.
        assert isinstance(cols, slice)
        numbers = positions(rows)
        out = np.empty((len(numbers), cols.stop - cols.start), np.float32)
        width = min(out.shape[1], _BLOCK_ELEMENTS)
        height = max(1, _BLOCK_ELEMENTS // width)
        for top in range(0, out.shape[0], height):
            block = (
                slice(rows.start + top, min(rows.start + top + height, rows.stop))
                if isinstance(rows, slice)
                else numbers[top : top + height]
            )
            for left in range(cols.start, cols.stop, width):
                right = min(left + width, cols.stop)
                values = decode(pieces, block, slice(left, right))
                out[top : top + height, left - cols.start : right - cols.start] = values
        return out


def weights_of(
    parameter: Parameter, files: Mapping[Path, MappedFile], architecture: Architecture
) -> tuple[Weight, ...]:
    """View a parameter as matrices and vectors.

    A 2-D parameter is a matrix as stored, a 1-D one is a vector. Convolutions, tables of
    embeddings and parameters of four and more dimensions are a matrix of (first axis, all
    other axes); a leading axis of extent 1 is dropped. Any other 3-D parameter is a stack with one
    matrix for each index of the first axis. The 2-D biases of a mixture are a stack of vectors.

    Args:
        parameter: The parameter.
        files: The files that hold it.
        architecture: The network, which decides how fused matrices are split.

    Returns:
        One weight, or one for each matrix of a stack. Each fused matrix is followed by its
        parts. A parameter that is empty, 0-D or unreadable is one weight.
    """
    role = classify(parameter.name)
    shape = parameter.shape
    stacked = _is_stack(parameter, role)
    if stacked and shape[0] > MAX_STACK:
        problem = f"a stack of {shape[0]} matrices; the limit is {MAX_STACK}"
        parameter = replace(parameter, problem=parameter.problem or problem)
    pieces = parameter.pieces
    if len(shape) - stacked > 2 and (len(pieces) > 1 or pieces[0].strides is not None):
        what = "packed in several pieces" if len(pieces) > 1 else "a strided view"
        problem = f"{what} and of {len(shape)} dimensions: only matrices and stacks are read so"
        parameter = replace(parameter, problem=parameter.problem or problem)
    if not stacked or parameter.problem is not None or not parameter.numel:
        return _with_parts(_view(parameter, role, shape, files, stacked), architecture)
    return tuple(
        weight
        for index in range(shape[0])
        for weight in _with_parts(
            replace(
                _view(parameter, role, shape[1:], files),
                expert_index=index,
                stack_index=index,
            ),
            architecture,
        )
    )


def _is_stack(parameter: Parameter, role: Role) -> bool:
    if len(parameter.shape) == 2:
        bias = parameter.decode is None and parameter.name.endswith("bias")
        return bias and role.component == "moe"
    single = any(word in role.block_type for word in _SINGLE)
    return len(parameter.shape) == 3 and not single


def _view(
    parameter: Parameter,
    role: Role,
    shape: tuple[int, ...],
    files: Mapping[Path, MappedFile],
    stacked: bool = False,
) -> Weight:
    matrix = len(shape) >= 2 and not stacked
    # A table of embeddings may be stored for a batch of one.
    first = (
        1 if matrix and len(shape) == 3 and shape[0] == 1 and "conv" not in role.block_type else 0
    )
    return Weight(
        parameter,
        role,
        expert_index=role.expert_index,
        shape=shape,
        rows=shape[first] if matrix else None,
        cols=prod(shape[first + 1 :]) if matrix else None,
        files=files,
    )


def _with_parts(weight: Weight, architecture: Architecture) -> tuple[Weight, ...]:
    if weight.problem is not None or weight.rows is None or len(weight.shape) != 2:
        return (weight,)
    packed = weight.parameter.decode is not None
    split = split_of(weight.role, weight.shape, packed, architecture)
    views = [replace(weight, unsplit=split.problem)]
    for part in split.parts:
        rows, cols = part.shape(*weight.shape)
        role = replace(weight.role, block_type=part.name)
        views.append(
            replace(weight, role=role, shape=(rows, cols), rows=rows, cols=cols, part=part)
        )
    return tuple(views)
