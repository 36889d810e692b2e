"""What a packed weight is: pieces that belong together, and how they become real values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = [
    "Claim",
    "Context",
    "Decode",
    "Index",
    "Layout",
    "Packing",
    "Piece",
    "Scheme",
    "missing",
    "positions",
    "require_piece",
    "require_shape",
]

# Rows or columns of a logical matrix: a slice with both ends, or their numbers in any order.
Index = slice | NDArray[np.intp]


@dataclass(frozen=True)
class Piece:
    """The stored words of one piece of a packed weight, a view of the file.

    Attributes:
        words: Words as stored, in the stored shape; of a stack only the matrix at hand.
        dtype: Key of `DTYPES`, `SCALE_DTYPE`, or a format's own name.
    """

    words: NDArray[Any]
    dtype: str

    def values(self, *index: Any) -> NDArray[np.float32]:
        """The numbers at a numpy index, float32."""
        # Scales that are infinite or beyond float32 are values like any other here.
        with np.errstate(over="ignore", invalid="ignore"):
            return decode(self.words[index], self.dtype).astype(np.float32, copy=False)


class Decode(Protocol):
    """Turns a block of a packed matrix into real values."""

    def __call__(self, pieces: Sequence[Piece], rows: Index, cols: slice) -> NDArray[np.float32]:
        """Decode one block.

        Args:
            pieces: `Claim.pieces`, mapped.
            rows: Which rows of the logical matrix.
            cols: Which of its columns: from a multiple of 1024, to another or to the end.

        Returns:
            float32, shape (rows, cols) of the block.

        Raises:
            PackingError: The pieces contradict each other in a way that no header shows.
        """


@dataclass(frozen=True)
class Claim:
    """Stored tensors that are one weight, told from their names alone.

    Attributes:
        name: Name of the weight, as the model calls it.
        pieces: What its values are made of; the main piece first.
        extra: What belongs to it without entering its values (activation scales, shapes).
    """

    name: str
    pieces: tuple[TensorInfo, ...]
    extra: tuple[TensorInfo, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How the pieces of a claim lie.

    Attributes:
        shape: Logical shape in PyTorch order, (rows, cols) or (stack, rows, cols). Of a stack
            every piece has the stack as its first axis.
        detail: What the packing does here, for people ("4 bit, group 64").
        decode: Turns blocks into values.
        row_major: Whether the main piece's first axis is the logical rows, so that its pages
            can be given back as the rows go by.
    """

    shape: tuple[int, ...]
    detail: str
    decode: Decode
    row_major: bool = True


@dataclass(frozen=True)
class Context:
    """What a packing may look at.

    Attributes:
        tensors: All stored tensors of the checkpoint by name.
        settings: config.json's ``quantization`` or ``quantization_config``; empty without.
        read: The bytes of a small tensor.
    """

    tensors: Mapping[str, TensorInfo]
    settings: Mapping[str, Any]
    read: Callable[[TensorInfo], bytes]

    def find(self, *names: str) -> tuple[TensorInfo, ...]:
        """Those of the names that are there."""
        return tuple(self.tensors[name] for name in names if name in self.tensors)


@dataclass(frozen=True)
class Packing:
    """A way to store real numbers in packed pieces.

    Attributes:
        scheme: Module that knows the pieces; see `Scheme`.
        content: What of it is read, for the documentation.
    """

    scheme: str
    content: str


class Scheme(Protocol):
    """What knows a packing's pieces: a module with these two functions."""

    def claim(self, tensor: TensorInfo, context: Context) -> Claim | None:
        """The weight whose main piece ``tensor`` is; None if it is none of this packing's.

        Called for every stored tensor: decides by names and dtypes, in microseconds.
        """

    def layout(self, claim: Claim, context: Context) -> Layout:
        """How the claimed pieces lie.

        Raises:
            PackingError: Their shapes, types or settings do not fit together.
        """


def positions(index: Index) -> NDArray[np.intp]:
    """The row or column numbers that an index stands for."""
    return np.arange(index.start, index.stop) if isinstance(index, slice) else index


def require_shape(piece: TensorInfo, *shapes: tuple[int, ...]) -> None:
    """Refuse a piece whose shape is none of those that fit, or that cannot be read.

    Raises:
        PackingError: It is another, or its bytes are not as many as its elements.
    """
    if piece.shape not in shapes:
        fitting = " or ".join(str(list(shape)) for shape in shapes)
        raise PackingError(f"{piece.name} has the shape {list(piece.shape)} instead of {fitting}")
    width = DTYPES[piece.dtype].itemsize if piece.dtype in DTYPES else 1
    if (piece.inflated or piece.nbytes) != math.prod(piece.shape) * width:
        raise PackingError(f"{piece.name}: {piece.nbytes} bytes do not hold its shape")


def require_piece(piece: TensorInfo, dtypes: Sequence[str], *shapes: tuple[int, ...]) -> None:
    """Refuse a piece of another type or shape, or one that cannot be read.

    Raises:
        PackingError: It is one of these.
    """
    if piece.problem:
        raise PackingError(f"{piece.name}: {piece.problem}")
    if piece.dtype not in dtypes:
        raise PackingError(f"{piece.name} is {piece.dtype} instead of {' or '.join(dtypes)}")
    require_shape(piece, *shapes)


def missing(claim: Claim, *names: str) -> None:
    """Refuse a claim without the pieces that follow its main one.

    Args:
        claim: The claim.
        names: Ends of the pieces' names, in their order.

    Raises:
        PackingError: Pieces are missing.
    """
    found = {piece.name.rpartition(".")[2] for piece in claim.pieces}
    lacking = [name for name in names if name not in found]
    if lacking:
        raise PackingError(f"{claim.name}: {' and '.join(lacking)} missing beside its codes")
