"""Checks of a packing's pieces: type, shape, and whether all of them exist."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlx_probe.checkpoint.packings.protocol import Claim
from mlx_probe.core.dtypes import DTYPES, SCALE_DTYPE
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["missing", "require_piece", "require_shape"]


def require_shape(piece: TensorInfo, *shapes: tuple[int, ...]) -> None:
    """Refuse a piece that has none of these shapes, or whose bytes do not hold its shape.

    Raises:
        PackingError: It is refused.
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
        PackingError: It is refused.
    """
    # Bytes that hold exponents cannot be read as elements of their own, only as scales.
    if piece.problem and piece.dtype != SCALE_DTYPE:
        raise PackingError(f"{piece.name}: {piece.problem}")
    if piece.dtype not in dtypes:
        raise PackingError(f"{piece.name} is {piece.dtype} instead of {' or '.join(dtypes)}")
    require_shape(piece, *shapes)


def missing(claim: Claim, *names: str) -> None:
    """Refuse a claim without the pieces that follow its main one.

    Args:
        claim: The claim.
        names: Last segments of the pieces' names, in order.

    Raises:
        PackingError: Pieces are missing.
    """
    present = {piece.name.rpartition(".")[2] for piece in claim.pieces}
    lacking = [name for name in names if name not in present]
    if lacking:
        raise PackingError(f"{claim.name}: {' and '.join(lacking)} missing beside its codes")
