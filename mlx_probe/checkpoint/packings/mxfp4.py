"""MXFP4 of gpt-oss: ``_blocks`` of 32 four-bit floats, each with a byte of ``_scales``.

Source: OCP Microscaling Formats (MX) Specification 1.0, section 6; the layout is that of
openai/gpt-oss-20b.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.bits import unpack_bits
from mlx_probe.checkpoint.packings.checks import require_piece
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece
from mlx_probe.core.dtypes import E2M1, SCALE_DTYPE, decode
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

GROUP = 32


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """Bytes called ``..._blocks`` beside ``..._scales``."""
    name = tensor.name.removesuffix("_blocks")
    if tensor.dtype != "U8" or name == tensor.name:
        return None
    scales = context.find(f"{name}_scales")
    return Claim(name, (tensor, *scales)) if scales else None


def layout(claim: Claim, context: Context) -> Layout:
    """(stack, rows, groups, 16) bytes are (stack, rows, 32 groups) numbers."""
    blocks, scales = claim.pieces
    if len(blocks.shape) not in (3, 4) or blocks.shape[-1] != GROUP // 2:
        raise PackingError(
            f"{blocks.name} has the shape {list(blocks.shape)}; blocks are {GROUP // 2} bytes "
            "on the last of 3 or 4 axes"
        )
    require_piece(blocks, ("U8",), blocks.shape)
    require_piece(scales, ("U8", SCALE_DTYPE), blocks.shape[:-1])
    *stack, groups, _ = blocks.shape
    encoding = Encoding("scaled", "E2M1", bits=4, group=GROUP, scale=SCALE_DTYPE)
    detail = f"4 bit, group {GROUP}"
    return Layout((*stack, groups * GROUP), detail, _decode, encoding=encoding)


def _decode(pieces: Sequence[Piece], rows: Index, cols: slice) -> NDArray[np.float32]:
    blocks, scales = pieces
    groups = slice(cols.start // GROUP, -(-cols.stop // GROUP))
    # The lower half of a byte is the first number.
    values = np.take(E2M1, unpack_bits(blocks.words[rows, groups], 4))
    with np.errstate(over="ignore", invalid="ignore"):
        values *= decode(scales.words[rows, groups], SCALE_DTYPE)[..., None]
    return values.reshape(len(values), -1)
