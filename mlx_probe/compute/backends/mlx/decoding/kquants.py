"""ggml's K-quants: 256 elements, in groups with scales that are small integers themselves.

Also its ternary types, which have the same blocks. Each function turns blocks, uint8 of shape
(n, bytes), into float32 of shape (n, groups, elements of a group).

Source: as in `ggml`.
"""

from __future__ import annotations

import mlx.core as mx

from mlx_probe.compute.backends.mlx.decoding.blocks import fields, half, spread

__all__ = ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "tq1_0", "tq2_0"]


def q2_k(blocks: mx.array) -> mx.array:
    """16 groups of 16, with scales and minima of four bits."""
    scales, codes, scale, least = fields(blocks, 16, 64, 2, 2)
    factors = half(scale) * (scales & 15).astype(mx.float32)
    minima = half(least) * (scales >> 4).astype(mx.float32)
    return _affine(spread(codes, 2, 32), factors, minima)


def q3_k(blocks: mx.array) -> mx.array:
    """16 groups of 16, with scales of six bits: four in one place, two in another."""
    high, low, scales, scale = fields(blocks, 32, 64, 12, 2)
    fours, twos = spread(scales[:, :8], 4, 8), spread(scales[:, 8:], 2, 4)
    factors = half(scale) * ((fours | (twos << 4)).astype(mx.float32) - 32.0)
    # Where the third bit is not set, four is subtracted.
    lacking = (spread(high, 1, 32) ^ 1) << 2
    values = spread(low, 2, 32).astype(mx.float32) - lacking.astype(mx.float32)
    return _scaled(values, factors)


def q4_k(blocks: mx.array) -> mx.array:
    """8 groups of 32, with scales and minima of six bits."""
    scale, least, scales, codes = fields(blocks, 2, 2, 12, 128)
    factors, minima = _scales_and_minima(scale, least, scales)
    return _affine(spread(codes, 4, 32), factors, minima)


def q5_k(blocks: mx.array) -> mx.array:
    """`q4_k` with a fifth bit."""
    scale, least, scales, high, low = fields(blocks, 2, 2, 12, 32, 128)
    factors, minima = _scales_and_minima(scale, least, scales)
    return _affine(spread(low, 4, 32) | (spread(high, 1, 32) << 4), factors, minima)


def q6_k(blocks: mx.array) -> mx.array:
    """16 groups of 16, with scales of a signed byte."""
    low, high, scales, scale = fields(blocks, 128, 64, 16, 2)
    factors = half(scale) * scales.view(mx.int8).astype(mx.float32)
    codes = spread(low, 4, 64) | (spread(high, 2, 32) << 4)
    return _scaled(codes.astype(mx.float32) - 32.0, factors)


def tq1_0(blocks: mx.array) -> mx.array:
    """Ternary digits, five or four to a byte."""
    first, second, third, scale = fields(blocks, 32, 16, 4, 2)
    powers = mx.array([1, 3, 9, 27, 81], mx.uint8)[:, None]
    # Each product keeps its lower byte; what it is of 256 is the digit.
    parts = [
        (part[:, None, :] * powers[:digits]).reshape(len(blocks), -1)
        for part, digits in ((first, 5), (second, 5), (third, 4))
    ]
    digits = (mx.concatenate(parts, axis=1).astype(mx.uint16) * 3) >> 8
    return half(scale) * (digits.astype(mx.float32) - 1.0)


def tq2_0(blocks: mx.array) -> mx.array:
    """Ternary digits of two bits."""
    codes, scale = fields(blocks, 64, 2)
    return half(scale) * (spread(codes, 2, 32).astype(mx.float32) - 1.0)


def _scales_and_minima(
    scale: mx.array, least: mx.array, packed: mx.array
) -> tuple[mx.array, mx.array]:
    """Factors and minima of eight groups, whose six bits lie in twelve bytes."""
    scales, minima, fours = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    twos = [(each >> 2) & 0x30 for each in (scales, minima)]
    sixes = mx.concatenate([scales & 63, (fours & 15) | twos[0]], axis=1)
    others = mx.concatenate([minima & 63, (fours >> 4) | twos[1]], axis=1)
    return half(scale) * sixes.astype(mx.float32), half(least) * others.astype(mx.float32)


def _scaled(values: mx.array, factors: mx.array) -> mx.array:
    return factors[..., None] * values.reshape(*factors.shape, -1)


def _affine(codes: mx.array, factors: mx.array, minima: mx.array) -> mx.array:
    return _scaled(codes.astype(mx.float32), factors) - minima[..., None]
