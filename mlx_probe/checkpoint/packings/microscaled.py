"""Numbers of 4 or 6 bits in groups along the rows, each with an 8-bit scale.

What compressed-tensors, AutoRound and ModelOpt share. The formats differ in the codes, in the
scales and in whether one factor for the whole tensor multiplies or divides; shapes and types of
the pieces leave some of them apart only by what config.json declares.

Source: OCP Microscaling Formats (MX) Specification 1.0, section 5; the codes of MXINT4 and the
scales of NVFP4 v2 are those of AutoRound 0.16 (``export_to_autoround/qlinear_int.py`` and
``data_type/nvfp.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.bits import unpack_bits
from mlx_probe.checkpoint.packings.checks import require_piece
from mlx_probe.checkpoint.packings.protocol import Claim, Index, Layout, Piece
from mlx_probe.core.dtypes import E2M1, SCALE_DTYPE, decode
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["FORMATS", "Microscaled", "fitting", "group_of", "layout"]

# Unsigned scales with 5 bits of exponent and 3 of mantissa.
_UE5M3 = "UE5M3"


def _signed(magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values of all codes whose upper half is the lower one with the sign set."""
    return np.concatenate((magnitudes, -magnitudes))


def _e2m3() -> NDArray[np.float32]:
    """Values of the 6-bit float E2M3, by code."""
    code = np.arange(32)
    exponent, fraction = code >> 3, code & 7
    magnitude = np.where(exponent == 0, fraction / 8, np.ldexp(1 + fraction / 8, exponent - 1))
    values: NDArray[np.float32] = magnitude.astype(np.float32)
    return _signed(values)


def _ue5m3() -> NDArray[np.float32]:
    """Values of the scales of NVFP4 v2, by code; the last one is NaN."""
    code = np.arange(256)
    exponent, fraction = code >> 3, code & 7
    normal = np.ldexp(1 + fraction / 8, exponent - 15)
    values = np.where(exponent == 0, np.ldexp(fraction / 8, -14), normal).astype(np.float32)
    values[255] = np.nan
    return values


_UE5M3_VALUES = _ue5m3()


@dataclass(frozen=True)
class Microscaled:
    """One of the formats.

    Attributes:
        element: What the codes are, for people.
        bits: Width of a code.
        values: The number of each code.
        groups: Columns that share a scale; any of these.
        scale: Type of the scales: F8_E4M3, `SCALE_DTYPE` or UE5M3.
    """

    element: str
    bits: int
    values: NDArray[np.float32]
    groups: tuple[int, ...]
    scale: str

    @property
    def stored_scales(self) -> tuple[str, ...]:
        """Types that files give the scales."""
        stored = {"F8_E4M3": ("F8_E4M3",), SCALE_DTYPE: ("U8", SCALE_DTYPE), _UE5M3: ("U8",)}
        return stored[self.scale]

    def scales(self, words: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The numbers of stored scales."""
        if self.scale == _UE5M3:
            return np.take(_UE5M3_VALUES, words)
        return decode(words, self.scale)


# MXINT4 has a sign and a magnitude in steps of a quarter.
_QUARTERS = _signed((np.arange(8) / 4).astype(np.float32))
FORMATS = {
    "nvfp4": Microscaled("fp4", 4, E2M1, (16,), "F8_E4M3"),
    "mxfp4": Microscaled("fp4", 4, E2M1, (32,), SCALE_DTYPE),
    "mxfp6": Microscaled("fp6", 6, _e2m3(), (32,), SCALE_DTYPE),
    "mxint4": Microscaled("int4", 4, _QUARTERS, (32,), SCALE_DTYPE),
    "nvfp4_v2": Microscaled("fp4", 4, E2M1, (16, 32), _UE5M3),
}


def fitting(codes: TensorInfo, scale: TensorInfo) -> list[str]:
    """Formats that types and shapes of codes and scales allow."""
    return [
        name
        for name, form in FORMATS.items()
        if codes.dtype == "U8"
        and scale.dtype in form.stored_scales
        and group_of(form, codes, scale)
    ]


def group_of(form: Microscaled, codes: TensorInfo, scale: TensorInfo) -> int:
    """Columns that share a scale; 0 if the shapes do not fit."""
    if not codes.shape or len(codes.shape) != len(scale.shape) or codes.shape[-1] * 8 % form.bits:
        return 0
    if codes.shape[:-1] != scale.shape[:-1]:
        return 0
    cols, count = codes.shape[-1] * 8 // form.bits, scale.shape[-1]
    return next((group for group in form.groups if group * count == cols), 0)


def layout(claim: Claim, form: Microscaled, divides: bool = False) -> Layout:
    """The layout of codes with their scales.

    Args:
        claim: Its pieces are codes, scales and at most one number for the whole tensor.
        form: The format.
        divides: Whether that number divides the scales instead of multiplying them.

    Raises:
        PackingError: Types or shapes do not fit.
    """
    codes, scale, *whole = claim.pieces
    if len(codes.shape) not in (2, 3):
        raise PackingError(f"{codes.name} has the shape {list(codes.shape)}, no matrix")
    *stack, rows, _ = codes.shape
    require_piece(codes, ("U8",), codes.shape)
    group = group_of(form, codes, scale)
    if not group:
        widths = " or ".join(map(str, form.groups))
        raise PackingError(
            f"{scale.name} has the shape {list(scale.shape)}: no scale for each {widths} of the "
            f"{form.bits}-bit numbers in {list(codes.shape)} bytes"
        )
    require_piece(scale, form.stored_scales, scale.shape)
    for piece in whole:
        require_piece(piece, ("F32",), tuple(stack), (*stack, 1))
    decoding = partial(_decode, form=form, group=group, divides=divides)
    shape = (*stack, rows, codes.shape[-1] * 8 // form.bits)
    encoding = None
    if form.values is E2M1 and form.scale != _UE5M3:
        factor = ("divides" if divides else "multiplies") if whole else ""
        encoding = Encoding("scaled", "E2M1", 4, group, scale=form.scale, factor=factor)
    return Layout(shape, f"{form.element}, group {group}", decoding, encoding=encoding)


def _decode(
    pieces: Sequence[Piece], rows: Index, cols: slice, form: Microscaled, group: int, divides: bool
) -> NDArray[np.float32]:
    codes, scale, *whole = pieces
    # Columns begin at multiples of 1024, where a byte begins for every width.
    stored = codes.words[rows, cols.start * form.bits // 8 : -(-cols.stop * form.bits // 8)]
    values: NDArray[np.float32] = np.take(form.values, unpack_bits(stored, form.bits))
    groups = slice(cols.start // group, cols.stop // group)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        factors = form.scales(scale.words[rows, groups])
        for piece in whole:
            factor = piece.values().reshape(())
            factors = factors / factor if divides else factors * factor
        grouped = values.reshape(*factors.shape, group)
        grouped *= factors[..., None]
    return values
