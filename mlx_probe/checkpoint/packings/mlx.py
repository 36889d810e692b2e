"""MLX's quantization modes: affine, mxfp4, mxfp8 and nvfp4.

Rows of ``weight`` are packed into 32-bit words, lowest bits first. Every group of a row has a
scale and, in the affine mode, a bias. Group size and bits come from config.json, which may have
different settings for single modules.

Source: MLX's documentation of ``mlx.core.quantize``; OCP Microscaling Formats 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.bits import unpack_bits
from mlx_probe.checkpoint.packings.checks import require_piece, require_shape
from mlx_probe.checkpoint.packings.groups import SCALE_DTYPES
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Index, Layout, Piece, positions
from mlx_probe.core.dtypes import E2M1, SCALE_DTYPE, decode
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["claim", "layout"]

# Group size and bits if config.json names only the mode.
DEFAULTS = {"affine": (64, 4), "mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}
# Types of their scales.
FLOAT_MODES = {"mxfp4": SCALE_DTYPE, "mxfp8": SCALE_DTYPE, "nvfp4": "F8_E4M3"}


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """``weight`` in 32-bit words beside ``scales``, with ``biases`` in the affine mode."""
    base = tensor.name.removesuffix("weight")
    if tensor.dtype != "U32" or base == tensor.name:
        return None
    scales = context.find(f"{base}scales")
    others = context.find(f"{base}biases", f"{base}global_scale")
    return Claim(tensor.name, (tensor, *scales, *others)) if scales else None


def layout(claim: Claim, context: Context) -> Layout:
    """Rows of 32-bit words; see `Scheme.layout`."""
    weight, scales, *others = claim.pieces
    mode, group, bits = _settings(claim, context.settings)
    if len(weight.shape) < 2:
        raise PackingError(f"{weight.name}: packed weights have rows, this is 1-D")
    *stack, rows, words = weight.shape
    if words * 32 % (bits * group):
        raise PackingError(
            f"{weight.name}: rows of {words} words are not whole groups of {group} at {bits} bits"
        )
    cols = words * 32 // bits
    require_shape(weight, weight.shape)
    scale_dtypes = SCALE_DTYPES if mode == "affine" else ("U8", FLOAT_MODES[mode])
    require_piece(scales, scale_dtypes, (*stack, rows, cols // group))
    for piece in others:
        if piece.name.endswith("biases"):
            require_piece(piece, SCALE_DTYPES, scales.shape)
        else:
            require_piece(piece, SCALE_DTYPES, tuple(stack), (*stack, 1))
    affine = any(piece.name.endswith("biases") for piece in others)
    if affine != (mode == "affine"):
        raise PackingError(
            f"{weight.name}: mode {mode} and {'biases' if affine else 'no biases'} beside it"
        )
    unpack = _affine if affine else partial(_float, scale_dtype=FLOAT_MODES[mode])
    return Layout(
        (*stack, rows, cols),
        f"{mode}, {bits} bit, group {group}",
        partial(unpack, group=group, bits=bits),
        # A scale of the whole tensor has no place in an encoding.
        encoding=_encoding(mode, group, bits) if len(others) == affine else None,
    )


def _encoding(mode: str, group: int, bits: int) -> Encoding:
    if mode == "affine":
        return Encoding("mlx_affine", bits=bits, group=group)
    element = "E2M1" if bits == 4 else "F8_E4M3"
    return Encoding("scaled", element, bits=bits, group=group, scale=FLOAT_MODES[mode])


def _settings(claim: Claim, settings: Mapping[str, Any]) -> tuple[str, int, int]:
    """Mode, group size and bits: those of the module, or else those of the model."""
    own = settings.get(claim.name.removesuffix(".weight"))
    chosen = {**settings, **own} if isinstance(own, dict) else settings
    if "group_size" not in chosen and "mode" not in chosen:
        # 4 bits in groups of 64 and 8 bits in groups of 32 have the same shapes.
        raise PackingError(
            f"{claim.name}: packed by MLX, but config.json with the group size and bits is missing"
        )
    mode = chosen.get("mode", "affine")
    if mode not in DEFAULTS:
        raise PackingError(f"{claim.name}: quantization mode {mode!r} is not known")
    group, bits = (
        chosen.get(key, value)
        for key, value in zip(("group_size", "bits"), DEFAULTS[mode], strict=True)
    )
    known = DEFAULTS[mode]
    # The float modes have one group size each, and their shapes do not show another one.
    fits = bits in range(1, 9) if mode == "affine" else (group, bits) == known
    if type(group) is not int or group < 1 or type(bits) is not int or not fits:
        raise PackingError(f"{claim.name}: {bits!r} bits in groups of {group!r} in mode {mode}")
    return mode, group, bits


def _codes(pieces: Sequence[Piece], rows: Index, cols: slice, bits: int) -> NDArray[np.uint8]:
    words = slice(cols.start * bits // 32, -(-cols.stop * bits // 32))
    return unpack_bits(pieces[0].words[rows, words], bits)


def _affine(
    pieces: Sequence[Piece], rows: Index, cols: slice, group: int, bits: int
) -> NDArray[np.float32]:
    _, scales, biases = pieces
    values = _codes(pieces, rows, cols, bits).astype(np.float32)
    groups = positions(cols) // group
    with np.errstate(over="ignore", invalid="ignore"):
        values *= scales.values(rows)[:, groups]
        values += biases.values(rows)[:, groups]
    return values


def _float(
    pieces: Sequence[Piece], rows: Index, cols: slice, group: int, bits: int, scale_dtype: str
) -> NDArray[np.float32]:
    _, scales, *tensor_scale = pieces
    codes = _codes(pieces, rows, cols, bits)
    values = np.take(E2M1, codes) if bits == 4 else decode(codes, "F8_E4M3")
    factors = decode(scales.words[rows], scale_dtype)
    if tensor_scale:
        # This scale of the whole tensor maps its largest magnitude to the largest product of a
        # number in E2M1 and one in E4M3.
        factors = factors * (tensor_scale[0].values().reshape(()) / np.float32(448 * 6))
    with np.errstate(over="ignore", invalid="ignore"):
        values *= factors[:, positions(cols) // group]
    return values
