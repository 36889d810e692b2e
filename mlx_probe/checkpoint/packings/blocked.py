"""Scales of small floats in the tiles that NVIDIA's block-scaled products read.

The matrix of scales is padded to whole tiles of 128 rows and 4 columns. Tiles follow each other
row by row; inside one, row 32 a + b and column c is at 16 b + 4 a + c.

Source: NVIDIA, cuBLAS documentation, "1D block scaling factors layout"; torchao 0.18
(``prototype/mx_formats/utils.py``) and comfy-kitchen 0.2 (``float_utils.py``) read it so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.bits import unpack_bits
from mlx_probe.checkpoint.packings.protocol import Index, Piece, positions
from mlx_probe.core.dtypes import E2M1, decode

__all__ = ["TILE", "blocked_shape", "decode_small_floats"]

# Rows and columns of a tile.
TILE = (128, 4)


def blocked_shape(rows: int, groups: int) -> tuple[int, int]:
    """The shape of the padded scales of a matrix.

    Args:
        rows: Rows of the matrix.
        groups: Groups of its columns.
    """
    return -(-rows // TILE[0]) * TILE[0], -(-groups // TILE[1]) * TILE[1]


def decode_small_floats(
    pieces: Sequence[Piece],
    rows: Index,
    cols: slice,
    *,
    group: int,
    dtype: str,
    tiled: bool,
    high_first: bool,
) -> NDArray[np.float32]:
    """Floats of 8 or 4 bits times the scale of their group; see `Decode`.

    Args:
        pieces: The elements, of 4 bits if they are bytes; the scales of groups; then at most one
            scale of the whole tensor, which is multiplied too.
        rows: Rows to decode.
        cols: Columns to decode, from a multiple of ``group``.
        group: Columns that share a scale; even.
        dtype: Type of the scales, whatever the file calls them.
        tiled: Whether the scales are in tiles; otherwise they are (rows, groups).
        high_first: Whether the upper half of a byte is the first of its two numbers.
    """
    elements, scales, *whole = pieces
    groups = np.arange(cols.start // group, -(-cols.stop // group))
    if elements.dtype == "U8":
        codes = unpack_bits(elements.words[rows, cols.start // 2 : -(-cols.stop // 2)], 4)
        if high_first:
            codes = codes.reshape(len(codes), -1, 2)[..., ::-1].reshape(codes.shape)
        values = np.take(E2M1, codes)
    else:
        values = elements.values(rows, cols)
    if tiled:
        # Words of (padded rows, padded groups), in the order of the tiles.
        flat = scales.words.reshape(-1)
        across = -(-scales.words.size // blocked_shape(len(elements.words), 1)[0]) // TILE[1]
        words = flat[_places(positions(rows)[:, None], groups, across)]
    else:
        words = scales.words[rows][:, groups]
    factors = decode(words, dtype).astype(np.float32, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        for scale in whole:
            factors = factors * scale.values().reshape(())
        values *= np.repeat(factors, group, axis=1)[:, : values.shape[1]]
    return values


def _places(rows: NDArray[np.intp], groups: NDArray[np.intp], across: int) -> NDArray[np.intp]:
    """Where the scales of rows and groups are; ``across`` is the number of tiles side by side."""
    down, inside = np.divmod(rows, TILE[0])
    right, column = np.divmod(groups, TILE[1])
    above, beside = np.divmod(inside, 32)
    places: NDArray[np.intp] = (down * across + right) * 512 + beside * 16 + above * 4 + column
    return places
