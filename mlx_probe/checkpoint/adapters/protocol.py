"""What a kind of adapter declares: its tensors' names, and what they do to a tensor of the base.

A kind decides from headers alone (`Scheme.update`), so that a plan knows what will be read
and how much memory it takes; numbers come later (`Update.build`), in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.errors import PackingError

__all__ = [
    "Directions",
    "Edit",
    "Floats",
    "MisfitError",
    "Module",
    "Product",
    "Scheme",
    "Target",
    "Transform",
    "Update",
]

Floats = NDArray[np.float64]


class MisfitError(PackingError):
    """An adapter's tensors whose shapes do not fit the tensor of the base."""


@dataclass(frozen=True)
class Module:
    """What an adapter stores for one module of the base.

    Attributes:
        name: Name of the module in the base.
        depth: How many wrappers of PEFT lie around it: for several adapted parameters of one
            module (``target_parameters``), the innermost belongs to the first of them.
        pieces: Key of `AdapterKind.pieces` to the stored tensor, as a vector of all elements.
        unknown: Names of its tensors that the kind does not understand.
    """

    name: str
    depth: int = 0
    pieces: dict[str, Weight] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def numel(self, piece: str) -> int:
        """Elements of a piece.

        Raises:
            PackingError: The adapter does not store it.
        """
        return prod(self.shape(piece))

    def shape(self, piece: str) -> tuple[int, ...]:
        """Shape of a piece as stored.

        Raises:
            PackingError: The adapter does not store it.
        """
        if piece not in self.pieces:
            raise PackingError(f"the adapter does not store {piece} of {self.name}")
        return self.pieces[piece].shape


@dataclass(frozen=True)
class Target:
    """The tensor of the base that a module changes.

    Attributes:
        shape: Shape as stored, without the axis of a stack.
        rows: Rows of the matrix; None for a vector.
        cols: Columns of the matrix; None for a vector.
        transposed: Whether it is stored as (in, out), as GPT-2's Conv1D is.
        is_table: Whether it is a table of embeddings.
        expert: Index in the stack of experts; None if it is not in one.
        experts: Matrices in the stack.
    """

    shape: tuple[int, ...]
    rows: int | None
    cols: int | None
    transposed: bool = False
    is_table: bool = False
    expert: int | None = None
    experts: int = 1

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns as stored.

        Raises:
            MisfitError: It is a vector.
        """
        if self.rows is None or self.cols is None:
            raise MisfitError(f"{_text(self.shape)} in A, factors of a matrix in B")
        return self.rows, self.cols

    @property
    def outputs(self) -> int:
        """Outputs of the layer."""
        return self.matrix[1] if self.transposed else self.matrix[0]

    @property
    def inputs(self) -> int:
        """Inputs of the layer; those of a convolution times the size of its kernel."""
        return self.matrix[0] if self.transposed else self.matrix[1]


@dataclass(frozen=True)
class Product:
    """The difference that a low-rank adapter makes, as two factors in float64.

    Attributes:
        left: L with the scale, shape (rows, rank).
        right: R, shape (rank, cols).
        magnitude: DoRA's norms; None for a plain product.
        axis: 0 if the norms are those of rows as stored, 1 for columns.
    """

    left: Floats
    right: Floats
    magnitude: Floats | None = None
    axis: int = 0

    @property
    def is_finite(self) -> bool:
        """Whether no factor holds a NaN or an infinity."""
        return bool(np.isfinite(self.left).all() and np.isfinite(self.right).all())


# New values of a block from its values, rows and columns; a vector is one column.
Elements = Callable[[Floats, slice, slice], Floats]


@dataclass(frozen=True)
class Transform:
    """A change that is not a product of two small factors: new values of a block from its old ones.

    Attributes:
        apply: Gives the new values.
        whole_rows: Whether a block must hold whole rows.
        whole_cols: Whether a block must hold whole columns.
    """

    apply: Elements
    whole_rows: bool = False
    whole_cols: bool = False


Edit = Product | Transform


@dataclass(frozen=True)
class Directions:
    """Directions that the adapter takes out of the base when it is loaded.

    Attributes:
        method: "pissa": the leading singular directions; "kasa": the last ones; "olora": the span
            of the first columns.
        count: How many.
        scale: Factor of what is taken out.
    """

    method: str
    count: int
    scale: float


@dataclass(frozen=True)
class Update:
    """What an adapter does to one tensor of the base.

    Attributes:
        pieces: Stored tensors that are read, by their key.
        build: Turns the pieces, in their stored shapes, into the change.
        rank: Columns of the product's left factor; None for a `Transform`.
        dora: Whether the product has DoRA's norms.
        whole_rows: See `Transform`.
        whole_cols: See `Transform`.
        removed: What is taken out of the base first.
    """

    pieces: Mapping[str, Weight]
    build: Callable[[Mapping[str, Floats]], Edit]
    rank: int | None = None
    dora: bool = False
    whole_rows: bool = False
    whole_cols: bool = False
    removed: Directions | None = None


class Scheme(Protocol):
    """The module of a kind."""

    def update(
        self, key: str, module: Module, target: Target, config: Mapping[str, Any]
    ) -> Update | None:
        """What a module of the adapter does to a tensor of the base, from headers alone.

        Args:
            key: "weight" for the weight of the module, "bias" for its bias.
            module: What the adapter stores for it.
            target: The tensor.
            config: adapter_config.json.

        Returns:
            The change; None if it leaves the tensor alone.

        Raises:
            PackingError: The change is not known, with the reason; `MisfitError` if the shapes do
                not fit.
        """


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a scalar"
