"""Integers of 4 bits, two to a byte, with a scale and an offset for each group of columns.

A weight is its code times the scale plus the offset. torchao and ComfyUI share the layout: the
first code of a byte is in its lower half, and scales and offsets are (groups, rows).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.bits import unpack_bits
from mlx_probe.checkpoint.packings.protocol import Index, Piece, positions

__all__ = ["decode_int4"]

_HALF = 8


def decode_int4(
    pieces: Sequence[Piece], rows: Index, cols: slice, *, group: int, signed: bool
) -> NDArray[np.float32]:
    """Codes of -8 to 7 times the scale of their group plus its offset; see `Decode`.

    Args:
        pieces: Codes, scales and offsets.
        rows: Rows to decode.
        cols: Columns to decode.
        group: Columns that share a scale.
        signed: Whether the bits are a two's complement; otherwise 8 was added to the codes.
    """
    main, scale, zero = pieces
    codes = unpack_bits(main.words[rows, cols.start // 2 : -(-cols.stop // 2)], 4)
    # A flipped sign bit is an added 8.
    values: NDArray[np.float32] = (codes ^ _HALF if signed else codes).astype(np.float32)
    values -= np.float32(_HALF)
    groups = positions(cols) // group
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scale.values(slice(None), rows).T[:, groups]
        values += zero.values(slice(None), rows).T[:, groups]
    return values
