"""ggml's block types: shifts, masks and tables over the bytes of a block.

Source: ggml, ggml-common.h (block_q4_0 and its like) and ggml-quants.c (dequantize_row_q4_0 and
its like); the order of operations is that of the gguf package's ``quants.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.mlx.decoding import kquants
from mlx_probe.compute.backends.mlx.decoding.blocks import fields, half, nibbles
from mlx_probe.compute.backends.mlx.decoding.words import loaded
from mlx_probe.core.encoding import Encoded

__all__ = ["TYPES", "decode"]


@dataclass(frozen=True)
class _Type:
    """A block type.

    Attributes:
        elements: Elements of a block.
        nbytes: Bytes of a block.
        unpack: Turns blocks, uint8 (n, nbytes), into float32 (n, elements).
        exponents: Bytes at the start of a block that are exponents of float32.
    """

    elements: int
    nbytes: int
    unpack: Callable[[mx.array], mx.array]
    exponents: int = 0


# Values of the codes of IQ4_NL and IQ4_XS, and those of MXFP4 and NVFP4, doubled.
_UNEVEN = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)

# Exponents below this one may make subnormal elements.
_LEAST_EXPONENT = 30


def decode(block: Encoded, flushes: bool) -> mx.array | None:
    """Kind "ggml"; see `Encoding`."""
    form = TYPES[block.encoding.dtype]
    cols = block.cols
    first, last = (end // form.elements * form.nbytes for end in (cols.start, cols.stop))
    stored = block.words[0][block.rows, first:last]
    if flushes and form.exponents:
        heads = stored.reshape(len(stored), -1, form.nbytes)[..., : form.exponents]
        if (heads < _LEAST_EXPONENT).any():
            return None
    return form.unpack(loaded(stored).reshape(-1, form.nbytes)).reshape(block.shape)


def _affine(blocks: mx.array, bits: int, zero: int = 0, biased: bool = False) -> mx.array:
    """Q4_0, Q4_1, Q5_0, Q5_1: 32 codes with one scale, and a bias or a code for zero."""
    sizes = (2, *((2,) if biased else ()), *((4,) if bits == 5 else ()), 16)
    scale, *others = fields(blocks, *sizes)
    codes = nibbles(others[-1])
    if bits == 5:
        fifths = others[-2].view(mx.uint32) >> mx.arange(32, dtype=mx.uint32)
        codes = codes | ((fifths & 1) << 4).astype(mx.uint8)
    values = codes.astype(mx.float32)
    if zero:
        values = values - float(zero)
    values = values * half(scale)
    return values + half(others[0]) if biased else values


def _q8_0(blocks: mx.array) -> mx.array:
    scale, codes = fields(blocks, 2, 32)
    return codes.view(mx.int8).astype(mx.float32) * half(scale)


def _iq4_nl(blocks: mx.array) -> mx.array:
    scale, codes = fields(blocks, 2, 16)
    return half(scale) * _valued(nibbles(codes), _UNEVEN)


def _iq4_xs(blocks: mx.array) -> mx.array:
    """Eight groups of 32, each with a scale of six bits: four in one place, two in another."""
    scale, high, low, codes = fields(blocks, 2, 2, 4, 128)
    fours = ((low[..., None] >> mx.array([0, 4], mx.uint8)) & 15).reshape(-1, 8)
    twos = (high.view(mx.uint16) >> mx.arange(0, 16, 2, dtype=mx.uint16)).astype(mx.uint8) & 3
    scales = (fours | (twos << 4)).astype(mx.float32) - 32.0
    values = _valued(nibbles(codes.reshape(-1, 16)), _UNEVEN).reshape(-1, 8, 32)
    return (half(scale) * scales)[..., None] * values


def _mxfp4(blocks: mx.array) -> mx.array:
    """32 codes with an exponent; the codes' values are doubled, and the scale is halved."""
    exponent, codes = fields(blocks, 1, 16)
    wide = exponent.astype(mx.uint32)
    bits = mx.where(wide < 2, mx.array(0x00200000, mx.uint32) << wide, (wide - 1) << 23)
    return bits.view(mx.float32) * _valued(nibbles(codes), _DOUBLED)


def _nvfp4(blocks: mx.array) -> mx.array:
    """Four groups of 16 codes, each with an unsigned scale of E4M3."""
    scales, codes = fields(blocks, 4, 32)
    values = _valued(nibbles(codes.reshape(-1, 8)), _DOUBLED).reshape(-1, 4, 16)
    return mx.array(_halved_ue4m3())[scales][..., None] * values


def _halved_ue4m3() -> NDArray[np.float32]:
    """Half the values of NVFP4's scales by code: the sign is ignored, and 0x7F is zero."""
    code = np.arange(256)
    exponent, fraction = (code >> 3) & 15, (code & 7) / 8
    values = np.where(
        exponent == 0, np.ldexp(fraction, -7), np.ldexp(1 + fraction, exponent - 8)
    ).astype(np.float32)
    values[0x7F] = 0
    return values


def _valued(codes: mx.array, values: tuple[int, ...]) -> mx.array:
    return mx.array(np.array(values, np.float32))[codes]


TYPES: Mapping[str, _Type] = {
    "Q4_0": _Type(32, 18, partial(_affine, bits=4, zero=8)),
    "Q4_1": _Type(32, 20, partial(_affine, bits=4, biased=True)),
    "Q5_0": _Type(32, 22, partial(_affine, bits=5, zero=16)),
    "Q5_1": _Type(32, 24, partial(_affine, bits=5, biased=True)),
    "Q8_0": _Type(32, 34, _q8_0),
    "Q2_K": _Type(256, 84, kquants.q2_k),
    "Q3_K": _Type(256, 110, kquants.q3_k),
    "Q4_K": _Type(256, 144, kquants.q4_k),
    "Q5_K": _Type(256, 176, kquants.q5_k),
    "Q6_K": _Type(256, 210, kquants.q6_k),
    "IQ4_NL": _Type(32, 18, _iq4_nl),
    "IQ4_XS": _Type(256, 136, _iq4_xs),
    "TQ1_0": _Type(256, 54, kquants.tq1_0),
    "TQ2_0": _Type(256, 66, kquants.tq2_0),
    "MXFP4": _Type(32, 17, _mxfp4, exponents=1),
    "NVFP4": _Type(64, 36, _nvfp4),
}
