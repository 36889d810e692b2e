"""Exact Gram matrices on devices without float64, by splitting elements into digits.

Needs MLX. The source is the error-free splitting of Ozaki, Ogita, Oishi and Rump 2012,
"Error-free transformations of matrix multiplication by using fast routines of matrix
multiplication and its applications", with integer digits.
"""

from __future__ import annotations

from typing import Any, Protocol

import mlx.core as mx
import numpy as np

from mlx_probe.backends.protocol import Gram

__all__ = ["DigitGram", "digit_products", "peel", "scaled"]

# Products of two signed 8-bit digits stay below 2**14, so 2**10 of them add up to at most
# 2**24: every partial sum is an integer that float32 holds exactly, in whatever order the
# device adds.
EXACT_ROWS = 1024


class _Chunk(Protocol):
    @property
    def values(self) -> mx.array: ...


class DigitGram:
    """Gram matrix of the short side from exact float32 products of 8-bit digits.

    Each slab's short-side vectors are scaled by powers of two into (-1, 1) and peeled into
    signed 8-bit digits; digit matrices are multiplied in float32, which is exact (see
    `EXACT_ROWS`), and combined in int64 and float64. Three digits hold 23 bits below each
    vector's largest element, four hold 31; what is left over is measured in ``omitted``.
    """

    def __init__(self, rows: int, cols: int, digits: int) -> None:
        self._tall = rows >= cols
        self._digits = digits
        self._matrix = np.zeros((min(rows, cols),) * 2)
        self._omitted_squared = 0.0

    def add(self, chunk: _Chunk) -> None:
        """Add one slab's part."""
        x = chunk.values if self._tall else chunk.values.T
        largest = np.array(mx.abs(x).max(axis=0)).astype(np.float64)
        exponent = np.where(largest > 0, np.frexp(largest)[1], 0)
        digits, left_over = peel(scaled(x, -exponent), self._digits)
        scale = np.ldexp(1.0, exponent)
        levels = np.zeros_like(self._matrix)
        for level, products in digit_products(digits):
            levels += np.ldexp(np.array(products).astype(np.float64), -14 - 8 * level)
        self._matrix += levels * scale[:, None] * scale
        lost = np.array(left_over).astype(np.float64) * scale
        # The hundredth covers the float32 rounding of the sums of squares themselves.
        self._omitted_squared += 1.01 * float(np.dot(lost, lost))

    def finish(self) -> Gram:
        """The Gram matrix and the Frobenius norm of what the digits left out."""
        return Gram(self._matrix, omitted=float(np.sqrt(self._omitted_squared)))


def scaled(x: mx.array, exponent: Any) -> mx.array:
    """Multiply by 2**exponent exactly, in two factors: one may not be a normal float32."""
    half = np.asarray(exponent) // 2
    for part in (half, np.asarray(exponent) - half):
        x = x * mx.array(np.ldexp(1.0, part).astype(np.float32))
    return x


def peel(x: mx.array, digits: int) -> tuple[list[mx.array], mx.array]:
    """Signed 8-bit digits of values in (-1, 1), and what is left in each column.

    Returns:
        Integer-valued float32 matrices of x's shape with entries in [-128, 128], the most
        significant first; and for each column the Euclidean norm of the remainder, in x's
        units, float32 of shape (columns,).
    """
    peeled = []
    for k in range(digits):
        x = x * (128.0 if k == 0 else 256.0)
        digit = mx.round(x)
        x = x - digit
        peeled.append(digit)
    left_over = mx.sqrt(mx.square(x).sum(axis=0)) * 2.0 ** -(8 * digits - 1)
    return peeled, left_over


def digit_products(digits: list[mx.array]) -> list[tuple[int, mx.array]]:
    """Exact sums of products D_i.T @ D_j, grouped by their weight 2**(-8 (i + j)).

    Returns:
        Pairs of level i + j and the int64 sum of its products, shape (columns, columns).
    """
    rows, columns = digits[0].shape
    padding = -rows % EXACT_ROWS if rows > EXACT_ROWS else 0
    blocks = [
        mx.pad(d, [(0, padding), (0, 0)]).reshape(-1, min(rows + padding, EXACT_ROWS), columns)
        for d in digits
    ]
    sums: dict[int, mx.array] = {}
    for i, left in enumerate(blocks):
        for j in range(i, len(blocks)):
            # 2**24 in each of the blocks: float32 holds a block's product, int64 their sum.
            product = (left.transpose(0, 2, 1) @ blocks[j]).astype(mx.int64).sum(axis=0)
            if i != j:
                product = product + product.T
            sums[i + j] = sums[i + j] + product if i + j in sums else product
            mx.eval(sums[i + j])
    return list(sums.items())
