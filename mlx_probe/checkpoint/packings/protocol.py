"""Packed weights: the pieces that belong together, and how they become real values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.dtypes import as_float32
from mlx_probe.core.encoding import Encoding
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
    "positions",
]

# Rows or columns of a logical matrix: a slice with start and stop, or numbers in any order.
Index = slice | NDArray[np.intp]


@dataclass(frozen=True)
class Piece:
    """The stored words of one piece of a packed weight, a view of the file.

    Attributes:
        words: Words in the stored type and shape; for a stack, of one matrix only.
        dtype: Key of `DTYPES`, `SCALE_DTYPE`, or a format's own name.
    """

    words: NDArray[Any]
    dtype: str

    def values(self, *index: Any) -> NDArray[np.float32]:
        """The numbers at a numpy index, float32."""
        return as_float32(self.words[index], self.dtype)


class Decode(Protocol):
    """Turns a block of a packed matrix into real values."""

    def __call__(self, pieces: Sequence[Piece], rows: Index, cols: slice) -> NDArray[np.float32]:
        """Decode one block.

        Args:
            pieces: `Claim.pieces`, mapped.
            rows: Rows of the logical matrix.
            cols: Its columns, from a multiple of 1024 to another one or to the end.

        Returns:
            float32, shape (rows, cols) of the block.

        Raises:
            PackingError: The pieces contradict each other in their values.
        """


@dataclass(frozen=True)
class Claim:
    """Stored tensors that are one weight, recognised by their names and types.

    Attributes:
        name: Name of the weight in the model.
        pieces: Tensors that its values are computed from; the main piece first.
        extra: Tensors that belong to it but do not change its values (activation scales, shapes).
    """

    name: str
    pieces: tuple[TensorInfo, ...]
    extra: tuple[TensorInfo, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The shape of a claimed weight, and how its pieces are decoded.

    Attributes:
        shape: Logical shape in PyTorch order, (rows, cols) or (stack, rows, cols). The first
            axis of every piece is then the stack.
        detail: Settings of the packing, for people ("4 bit, group 64").
        decode: Turns blocks into values.
        row_major: Whether the main piece's first axis is the logical rows, so that its pages
            can be released row by row.
        encoding: What ``decode`` does, for backends that can do it by themselves; None if it has
            no name.
    """

    shape: tuple[int, ...]
    detail: str
    decode: Decode
    row_major: bool = True
    encoding: Encoding | None = None


@dataclass(frozen=True)
class Context:
    """The checkpoint as a packing sees it.

    Attributes:
        tensors: All stored tensors by name.
        settings: ``quantization`` or ``quantization_config`` of config.json; empty without one.
        read: Reads the bytes of a small tensor.
        metadata: The files' own metadata; of safetensors files, texts.
        width: Width of the residual stream by config.json; None if it does not say.
        vocabulary: Tokens by config.json; None if it does not say.
    """

    tensors: Mapping[str, TensorInfo]
    settings: Mapping[str, Any]
    read: Callable[[TensorInfo], bytes]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    width: int | None = None
    vocabulary: int | None = None

    @cached_property
    def ends(self) -> frozenset[str]:
        """Last segments of the names of all tensors."""
        return frozenset(name.rpartition(".")[2] for name in self.tensors)

    def find(self, *names: str) -> tuple[TensorInfo, ...]:
        """The tensors that have one of these names, in this order."""
        return tuple(self.tensors[name] for name in names if name in self.tensors)


@dataclass(frozen=True)
class Packing:
    """A way to store real numbers in packed pieces.

    Attributes:
        scheme: Module with the code; see `Scheme`.
        content: What is read of it, for the documentation.
        methods: Values of ``quant_method`` in config.json that it implements. A weight is skipped
            if config.json declares another one. Empty if its writers declare none; None if the
            file's own types say everything, whatever a config.json beside it says.
    """

    scheme: str
    content: str
    methods: tuple[str, ...] | None


class Scheme(Protocol):
    """The module that `Packing.scheme` names: it has these two functions."""

    def claim(self, tensor: TensorInfo, context: Context) -> Claim | None:
        """The weight with the main piece ``tensor``; None if that is not of this packing.

        Called for every stored tensor, so it must be fast: it decides by names and types.
        """

    def layout(self, claim: Claim, context: Context) -> Layout:
        """The layout of the claimed pieces.

        Raises:
            PackingError: Their shapes, types or settings do not fit together.
        """


def positions(index: Index) -> NDArray[np.intp]:
    """The row or column numbers of an index."""
    return np.arange(index.start, index.stop) if isinstance(index, slice) else index
