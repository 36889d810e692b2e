"""Changes of a tensor element by element, that several kinds of adapters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlx_probe.checkpoint.adapters.protocol import (
    Floats,
    MisfitError,
    Module,
    Target,
    Transform,
    Update,
)
from mlx_probe.core.errors import PackingError

__all__ = ["added", "cayley", "require_linear", "rotated", "scaled", "shape_text", "stored"]


def added(module: Module, target: Target, piece: str, scale: float) -> Update:
    """The vector of a piece times a scale is added to a vector."""
    _same_size(module, target, piece)

    def build(pieces: Mapping[str, Floats]) -> Transform:
        values = pieces[piece].reshape(-1, 1) * scale
        return Transform(lambda x, rows, cols: x + values[rows])

    return Update({piece: module.pieces[piece]}, build)


def stored(module: Module, target: Target, piece: str) -> Update:
    """A piece that takes a vector's place."""
    _same_size(module, target, piece)

    def build(pieces: Mapping[str, Floats]) -> Transform:
        values = pieces[piece].reshape(-1, 1)
        return Transform(lambda x, rows, cols: values[rows])

    return Update({piece: module.pieces[piece]}, build)


def scaled(module: Module, target: Target, piece: str, axis: int, repeat: int = 1) -> Update:
    """Rows (axis 0) or columns (axis 1) times the elements of a piece.

    Args:
        module: The module.
        target: The tensor that is changed; a vector has rows alone.
        piece: The piece.
        axis: 0 or 1.
        repeat: Columns of the matrix for one element: the size of a convolution's kernel.

    Raises:
        MisfitError: The piece has another number of elements.
    """
    extent = (target.rows or target.shape[0]) if axis == 0 else target.matrix[1]
    count = module.pieces[piece].numel
    if count * repeat != extent:
        raise MisfitError(f"{extent} {'columns' if axis else 'rows'} in A, {count} factors in B")

    def build(pieces: Mapping[str, Floats]) -> Transform:
        factors = np.repeat(pieces[piece].reshape(-1), repeat)
        if axis == 0:
            return Transform(lambda x, rows, cols: x * factors[rows, None])
        return Transform(lambda x, rows, cols: x * factors[cols])

    return Update({piece: module.pieces[piece]}, build)


def rotated(x: Floats, blocks: Floats) -> Floats:
    """Rows of x times a block-diagonal matrix.

    Args:
        x: Shape (k, count * size).
        blocks: Shape (count, size, size), or (1, size, size) for equal blocks.
    """
    size = blocks.shape[-1]
    parts = x.reshape(len(x), -1, size).swapaxes(0, 1)
    return np.ascontiguousarray((parts @ blocks).swapaxes(0, 1)).reshape(x.shape)


def cayley(skew: Floats) -> Floats:
    """(I - S) (I + S)^-1 of each block."""
    unit = np.eye(skew.shape[-1])
    # X (I + S) = I - S, transposed: S.T is -S.
    solved = np.linalg.solve(unit - skew, unit + skew).astype(np.float64)
    return np.ascontiguousarray(solved.swapaxes(1, 2))


def require_linear(target: Target, title: str) -> tuple[int, int]:
    """Rows and columns of a matrix that is stored as (out, in).

    Raises:
        PackingError: It is a Conv1D of GPT-2, or one of several experts.
        MisfitError: It is a vector.
    """
    if target.transposed or target.expert is not None:
        what = "GPT-2's Conv1D" if target.transposed else "stacked experts"
        raise PackingError(f"PEFT has no {title} for {what}")
    return target.matrix


def _same_size(module: Module, target: Target, piece: str) -> None:
    count = module.pieces[piece].numel
    if len(target.shape) != 1 or count != target.shape[0]:
        raise MisfitError(f"{shape_text(target.shape)} in A, {count} elements in B")


def shape_text(shape: Sequence[int]) -> str:
    """A shape as text: 4096 x 1024."""
    return " x ".join(map(str, shape))
