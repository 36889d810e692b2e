"""A matrix as the product of two narrow ones, as `mlx-probe budget --export` writes it.

``X.lowrank_left`` is (rows, rank), ``X.lowrank_right`` (rank, cols), both plain floats of one type;
the weight ``X.weight`` is their product, taken in float64. Each of them has the square roots of
the singular values, so that both have numbers of one size.

Source: Eckart and Young 1936: no other matrix of this rank is nearer in the Frobenius norm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.checks import require_piece
from mlx_probe.checkpoint.packings.groups import SCALE_DTYPES
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["LEFT", "RIGHT", "claim", "layout"]

LEFT, RIGHT = "lowrank_left", "lowrank_right"


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """A tensor called ``lowrank_left``, or ``lowrank_right`` where the other is missing."""
    base, dot, end = tensor.name.rpartition(".")
    if end not in (LEFT, RIGHT) or (end == RIGHT and context.find(f"{base}{dot}{LEFT}")):
        return None
    right = context.find(f"{base}{dot}{RIGHT}") if end == LEFT else ()
    return Claim(f"{base}{dot}weight", (tensor, *right))


def layout(claim: Claim, context: Context) -> Layout:
    """(rows, rank) times (rank, cols); see `Scheme.layout`."""
    if len(claim.pieces) == 1:
        (there,) = claim.pieces
        missing, end = (RIGHT, LEFT) if there.name.endswith(LEFT) else (LEFT, RIGHT)
        raise PackingError(f"{claim.name}: {missing} is missing beside {end}")
    left, right = claim.pieces
    for piece in (left, right):
        if len(piece.shape) != 2:
            raise PackingError(f"{piece.name} has the shape {list(piece.shape)}, no matrix")
    rows, rank = left.shape
    if not rank:
        raise PackingError(f"{left.name} has no columns, so that nothing is stored of the matrix")
    require_piece(left, SCALE_DTYPES, (rows, rank))
    require_piece(right, (left.dtype,), (rank, right.shape[1]))
    return Layout((rows, right.shape[1]), f"rank {rank}", _decode)


def _decode(pieces: Sequence[Piece], rows: Index, cols: slice) -> NDArray[np.float32]:
    left = pieces[0].values(rows).astype(np.float64)
    right = pieces[1].values(slice(None), cols).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        product: NDArray[np.float32] = (left @ right).astype(np.float32)
    return product
