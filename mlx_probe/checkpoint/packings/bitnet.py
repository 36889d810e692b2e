"""BitNet: ternary weights, four in a byte, with one scale for the matrix.

Byte r of a column holds the codes of rows r, r + R, r + 2R and r + 3R from the lowest bits up,
where R is the number of stored rows. Code 0 is -1. The class of the layers decides whether the
scale divides (``bitlinear``) or multiplies (``autobitlinear``), and only config.json names it.

Source: Ma et al. 2024, "The Era of 1-bit LLMs" (arXiv 2402.17764); the layout is that of
transformers 5.24 (``integrations/bitnet.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.checks import missing, require_piece
from mlx_probe.checkpoint.packings.groups import SCALE_DTYPES
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

METHOD = "bitnet"
# By config.json's ``linear_class``: whether the scale divides.
_DIVIDES = {"bitlinear": True, "autobitlinear": False}


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """Bytes called ``weight``, if config.json names the method: others store them as well."""
    base = tensor.name.removesuffix("weight")
    if tensor.dtype != "U8" or base == tensor.name or base[-1:] not in ("", "."):
        return None
    if context.settings.get("quant_method") != METHOD:
        return None
    return Claim(tensor.name, (tensor, *context.find(f"{base}weight_scale")))


def layout(claim: Claim, context: Context) -> Layout:
    """(rows / 4, cols) bytes are (rows, cols) weights; see `Scheme.layout`."""
    kind = context.settings.get("linear_class", "bitlinear")
    if not isinstance(kind, str) or kind not in _DIVIDES:
        raise PackingError(f"{claim.name}: BitNet's linear_class {kind!r} is not supported")
    missing(claim, "weight_scale")
    weight, scale = claim.pieces
    if len(weight.shape) != 2:
        raise PackingError(f"{weight.name} has the shape {list(weight.shape)}, no matrix")
    require_piece(weight, ("U8",), weight.shape)
    require_piece(scale, SCALE_DTYPES, (1,), ())
    rows, cols = weight.shape
    decode = partial(_decode, divides=_DIVIDES[kind])
    return Layout((4 * rows, cols), "ternary, one scale", decode, row_major=False)


def _decode(
    pieces: Sequence[Piece], rows: Index, cols: slice, divides: bool
) -> NDArray[np.float32]:
    weight, scale = pieces
    quarter, row = np.divmod(positions(rows), max(len(weight.words), 1))
    codes = (weight.words[row, cols] >> (2 * quarter).astype(np.uint8)[:, None]) & np.uint8(3)
    values: NDArray[np.float32] = codes.astype(np.float32) - np.float32(1)
    factor = scale.values().reshape(())
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return values / factor if divides else values * factor
