"""Fields of ggml's blocks."""

from __future__ import annotations

from itertools import accumulate, pairwise

import mlx.core as mx

__all__ = ["fields", "half", "nibbles", "spread"]


def fields(blocks: mx.array, *sizes: int) -> list[mx.array]:
    """Cut blocks, uint8 (n, bytes), into contiguous fields of some bytes each."""
    edges = accumulate(sizes, initial=0)
    return [mx.contiguous(blocks[:, first:last]) for first, last in pairwise(edges)]


def half(field: mx.array) -> mx.array:
    """A field of two bytes as a float16 number: float32, shape (n, 1)."""
    return field.view(mx.float16).astype(mx.float32)


def spread(field: mx.array, bits: int, run: int) -> mx.array:
    """Codes of a few bits that lie side by side in bytes, each place for a run of elements.

    Args:
        field: uint8, shape (n, bytes).
        bits: Bits of a code: 1, 2 or 4.
        run: Bytes that are read at one place before the next place.

    Returns:
        uint8, shape (n, codes).
    """
    shifts = mx.arange(0, 8, bits, dtype=mx.uint8)[:, None]
    places = field.reshape(len(field), -1, 1, run) >> shifts
    return (places & ((1 << bits) - 1)).reshape(len(field), -1)


def nibbles(field: mx.array) -> mx.array:
    """The lower halves of all bytes of a field, then the upper ones."""
    return spread(field, 4, field.shape[1])
