"""Integer codes with scales by groups: MLX's affine mode, compressed-tensors, GPTQ, AWQ."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.mlx.decoding.floats import block_factors
from mlx_probe.compute.backends.mlx.decoding.words import (
    Groups,
    loaded,
    row_bytes,
    too_small,
    unpacked,
)
from mlx_probe.core.dtypes import as_float32
from mlx_probe.core.encoding import Encoded

__all__ = [
    "decode_affine",
    "decode_awq_gemm",
    "decode_awq_gemv",
    "decode_gptq",
    "decode_signed",
]

# Codes that AWQ packs in an order of its own, and their places in it.
_RUN = 8
_PLACES = np.array([0, 4, 1, 5, 2, 6, 3, 7])


def decode_affine(block: Encoded, flushes: bool) -> mx.array | None:
    """Kind "mlx_affine"; see `Encoding`.

    ``mx.dequantize`` of float32 scales gives the same bits on MLX's CPU stream. It is not used: in
    its one kernel a GPU may contract the product and the sum, which rounds once.
    """
    groups = Groups.of_columns(block.cols, block.encoding.group)
    scales, biases = (
        as_float32(words[block.rows, groups.span], dtype)
        for words, dtype in zip(block.words[1:], block.dtypes[1:], strict=True)
    )
    if flushes and too_small(scales, biases):
        return None
    values = groups.apply(mx.multiply, _codes(block), mx.array(scales))
    return groups.apply(mx.add, values, mx.array(biases))


def decode_signed(block: Encoded, flushes: bool) -> mx.array | None:
    """Kind "signed"; see `Encoding`."""
    groups = Groups.of_columns(block.cols, block.encoding.group)
    scales = block_factors(block, groups)
    if flushes and too_small(scales):
        return None
    bits = block.encoding.bits
    half = float(1 << (bits - 1))
    values = _codes(block) - half
    for stored in block.words[2:]:
        zeros = unpacked(_upright(stored[:, groups.span], bits), bits)[:, block.rows]
        values = groups.apply(mx.subtract, values, zeros.T.astype(mx.float32) - half)
    return groups.apply(mx.multiply, values, mx.array(scales))


def decode_gptq(block: Encoded, flushes: bool) -> mx.array | None:
    """Kind "gptq"; see `Encoding`."""
    form, rows, cols = block.encoding, block.rows, block.cols
    bits = form.bits
    qweight, qzeros, scales, *order = block.words
    groups: Groups | None = Groups.of_columns(cols, form.group)
    if order:
        groups = Groups.of_order(order[0][cols], len(scales))
    if groups is None:
        return None
    factors = as_float32(scales[groups.span, rows], block.dtypes[2])
    if flushes and too_small(factors):
        return None
    # 32 codes fill as many words as a code has bits.
    words = slice(cols.start // 32 * bits, -(-cols.stop // 32) * bits)
    codes = unpacked(_upright(qweight[words, rows], bits), bits)[:, : block.shape[1]]
    zeros = unpacked(_padded(qzeros[groups.span], bits), bits)[:, rows]
    zeros = (zeros + form.zero_offset) & ((1 << bits) - 1)
    return _scaled(codes, zeros.T, factors.T, groups)


def decode_awq_gemm(block: Encoded, flushes: bool) -> mx.array | None:
    """Kind "awq_gemm"; see `Encoding`."""
    rows, cols = block.rows, block.cols
    qweight, qzeros, scales = block.words
    groups = Groups.of_columns(cols, block.encoding.group)
    factors = as_float32(scales[groups.span, rows], block.dtypes[2])
    if flushes and too_small(factors):
        return None
    codes = _awq_codes(qweight[cols], rows, block.encoding.bits)
    zeros = _awq_codes(qzeros[groups.span], rows, block.encoding.bits)
    return _scaled(codes.T, zeros.T, factors.T, groups)


def decode_awq_gemv(block: Encoded, flushes: bool) -> mx.array | None:
    """Kind "awq_gemv"; see `Encoding`."""
    bits = block.encoding.bits
    _, qzeros, scales = block.words
    groups = Groups.of_columns(block.cols, block.encoding.group)
    span = groups.span
    factors = as_float32(scales[block.rows, span], block.dtypes[2])
    if flushes and too_small(factors):
        return None
    first = span.start * bits // 32 * 32
    stored = unpacked(row_bytes(qzeros, block.rows, first, span.stop * bits), bits)
    zeros = stored[:, span.start - first // bits : span.stop - first // bits]
    return _scaled(_codes(block), zeros, factors, groups)


def _codes(block: Encoded) -> mx.array:
    """Codes that lie along the rows, as float32."""
    bits, cols = block.encoding.bits, block.cols
    # Columns start at multiples of 1024: at whole words. The last 32 codes may lack words.
    last = -(-cols.stop // 32) * 32 * bits
    data = _filled(row_bytes(block.words[0], block.rows, cols.start * bits, last), bits)
    return unpacked(data, bits)[:, : block.shape[1]].astype(mx.float32)


def _padded(words: NDArray[Any], bits: int) -> mx.array:
    """Bytes of whole lines, filled up to runs of eight codes."""
    return _filled(loaded(words).view(mx.uint8), bits)


def _upright(words: NDArray[Any], bits: int) -> mx.array:
    """Bytes of lines that are packed along the first axis, one line after the other."""
    return _filled(mx.contiguous(loaded(words).T).view(mx.uint8), bits)


def _filled(data: mx.array, bits: int) -> mx.array:
    if 8 % bits == 0:
        return data
    return mx.pad(data, [(0, 0), (0, -data.shape[1] % bits)])


def _awq_codes(words: NDArray[Any], rows: slice, bits: int) -> mx.array:
    """Codes of some outputs, from words (lines, outputs) in AWQ's order: uint8, same shape."""
    first, last = rows.start // _RUN, -(-rows.stop // _RUN)
    data: NDArray[np.uint8] = np.ascontiguousarray(words).view(np.uint8)
    codes = unpacked(loaded(data[:, first * bits : last * bits]), bits)
    lines = codes.shape[0]
    ordered = mx.take(codes.reshape(lines, -1, _RUN), mx.array(_PLACES), axis=2)
    return ordered.reshape(lines, -1)[:, rows.start - first * _RUN : rows.stop - first * _RUN]


def _scaled(
    codes: mx.array, zeros: mx.array, factors: NDArray[np.float32], groups: Groups
) -> mx.array:
    """(codes - zeros) x factors; codes (rows, columns), the others (rows, groups)."""
    values = groups.apply(mx.subtract, codes.astype(mx.float32), zeros.astype(mx.float32))
    return groups.apply(mx.multiply, values, loaded(factors))
