"""Eight-bit floats with scales: one for the tensor, for each row, or for each block.

DeepSeek-V3 has ``weight_scale_inv`` with blocks of 128 x 128; it is multiplied, not divided by.
Others call it ``weight_scale``. Transformers' fused experts append the same suffixes.

Source: DeepSeek-AI 2024, "DeepSeek-V3 Technical Report" (arXiv 2412.19437), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.checks import require_shape
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.dtypes import SCALE_DTYPE
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "decode_scaled", "encoding_of", "layout", "scale_block"]

_DTYPES = ("F8_E4M3", "F8_E5M2")
_SCALE_DTYPES = ("F32", "BF16", "F16", SCALE_DTYPE)
_SCALES = ("_scale_inv", "_scale", ".scale")
# Measured of activations when the model was quantized; not needed for the weight's values.
_EXTRA = ("input_scale", "input_scale_inv", "activation_scale", "output_scale", "input_amax")


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """A matrix or stack of 8-bit floats that has a scale of a matching name."""
    if tensor.dtype not in _DTYPES or len(tensor.shape) < 2:
        return None
    module = tensor.name.removesuffix("weight")
    scales = context.find(*(f"{tensor.name}{suffix}" for suffix in _SCALES), f"{module}scale")
    if not scales:
        return None
    joint = "" if module != tensor.name else "_"
    extra = context.find(*(f"{module}{joint}{suffix}" for suffix in _EXTRA))
    return Claim(tensor.name, (tensor, scales[0]), extra)


def layout(claim: Claim, context: Context) -> Layout:
    """Blocks by the scale's shape, or by config.json's ``weight_block_size``."""
    weight, scale = claim.pieces
    if scale.dtype not in _SCALE_DTYPES:
        raise PackingError(f"{scale.name} is {scale.dtype}, no type for scales")
    require_shape(weight, weight.shape)
    block = scale_block(weight, scale, context.settings.get("weight_block_size"))
    *_, rows, cols = weight.shape
    detail = (
        "one scale"
        if block == (rows, cols)
        else "a scale for each row"
        if block == (1, cols)
        else f"blocks of {block[0]} x {block[1]}"
    )
    encoding = encoding_of(weight, scale, block)
    return Layout(weight.shape, detail, partial(decode_scaled, block=block), encoding=encoding)


def encoding_of(weight: TensorInfo, scale: TensorInfo, block: tuple[int, int]) -> Encoding:
    """What `decode_scaled` does with elements of 8 bits."""
    lines, group = block
    return Encoding("scaled", weight.dtype, 8, group, lines=lines, scale=scale.dtype)


def scale_block(weight: TensorInfo, scale: TensorInfo, given: object = None) -> tuple[int, int]:
    """Rows and columns that share a scale.

    Args:
        weight: The elements, (rows, cols) or (stack, rows, cols).
        scale: One number, or of shape (stack), (rows), (rows, 1) or (row blocks, column blocks),
            with the stack first.
        given: The block in config.json, [rows, columns].

    Raises:
        PackingError: The scale has another shape.
    """
    *stack, rows, cols = weight.shape
    lead = tuple(stack)
    if not rows or not cols or scale.shape in (lead, (*lead, 1), (*lead, 1, 1)):
        require_shape(scale, lead, (*lead, 1), (*lead, 1, 1))
        return max(rows, 1), max(cols, 1)
    if scale.shape in ((*lead, rows), (*lead, rows, 1)):
        require_shape(scale, scale.shape)
        return 1, cols
    block = (128, 128)
    if given is not None:
        if not (
            isinstance(given, list | tuple)
            and len(given) == 2
            and all(type(extent) is int and extent > 0 for extent in given)
        ):
            raise PackingError(f"config.json: weight_block_size cannot be {given!r}")
        block = (given[0], given[1])
    require_shape(scale, (*lead, -(-rows // block[0]), -(-cols // block[1])))
    return block


def decode_scaled(
    pieces: Sequence[Piece], rows: Index, cols: slice, block: tuple[int, int]
) -> NDArray[np.float32]:
    """Elements times the scale of their block; see `Decode`.

    Args:
        pieces: The elements, and their scales.
        rows: Rows to decode.
        cols: Columns to decode.
        block: Rows and columns that share a scale.
    """
    weight, scale = pieces
    values = weight.values(rows, cols)
    factors = scale.values()
    height, width = weight.words.shape
    grid = factors.reshape(-(-height // block[0]), -(-width // block[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        if grid.size == 1:
            return values * grid
        # Rows first: the expanded scales are as large as the block along one axis only.
        return values * grid[positions(rows) // block[0]][:, positions(cols) // block[1]]
