"""Exact products of float32 matrices that are split into signed 8-bit digits.

Source: the error-free splitting of Ozaki, Ogita, Oishi and Rump 2012, "Error-free
transformations of matrix multiplication by using fast routines of matrix multiplication and its
applications", here with integer digits. No step rounds, so that neither the device, nor the
order of its additions, nor a shortened product (TF32) changes a bit:

- Digit k is an integer of at most 11 bits in units of 2**-(7 + 8 k): within 128 units, the
  leading one within 2**11 (numbers within `LARGEST` = 16). TF32 keeps 11 bits.
- In a block of at most `BLOCK_ROWS` = 2**10 rows the squares of a column's digits add up to at
  most 2**24 units: those of the lower digits by their size (128**2 * 2**10), those of the
  leading one because the caller ensures it (`ENERGY` = 2**24 * 2**-14). By Cauchy and Schwarz
  every partial sum of the product of two columns is then an integer of at most 2**24 units,
  which float32 holds.
- Products D_i.T @ D_j are added up in int64 in groups, in units of the group's last level:
  levels i + j from 0 to 4, from 5 to 8, from 9 to 12. After `WINDOW` = 2**6 blocks (65,536 rows)
  a product is at most 2**30 units of its own. Levels 0 to 4 weigh 2**32, 2**24, ..., 1 and have
  1, 2, ..., 5 products: together less than 2**62 / (1 - 2**-8)**2 < 2**63. Levels of the other
  groups weigh at most 2**24 and have at most 6 products (of 6 digits): less than 2**58.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

__all__ = [
    "BLOCK_ROWS",
    "ENERGY",
    "LARGEST",
    "WINDOW",
    "blocked",
    "digit_products",
    "group_count",
    "group_unit",
    "peel",
    "scaled",
    "terms",
]

BLOCK_ROWS = 1 << 10
WINDOW = 1 << 6
ENERGY = 2.0**10
LARGEST = 2.0**4


def blocked(x: mx.array) -> mx.array:
    """Cut rows into equal blocks of at most `BLOCK_ROWS`, with rows of zeros at the end.

    Args:
        x: Shape (batch, rows, columns).

    Returns:
        Shape (batch, blocks, rows of a block, columns).
    """
    batch, rows, columns = x.shape
    blocks = -(-rows // BLOCK_ROWS)
    height = -(-rows // blocks)
    padding = blocks * height - rows
    if padding:
        x = mx.pad(x, [(0, 0), (0, padding), (0, 0)])
    return x.reshape(batch, blocks, height, columns)


def scaled(x: mx.array, exponent: Any) -> mx.array:
    """Multiply by 2**exponent exactly, in two factors: a single one may not be a normal float32."""
    half = np.asarray(exponent) // 2
    for part in (half, np.asarray(exponent) - half):
        x = x * mx.array(np.ldexp(1.0, part).astype(np.float32))
    return x


def peel(x: mx.array, count: int) -> tuple[list[mx.array], mx.array]:
    """Signed 8-bit digits of small numbers, and the remainder.

    Args:
        x: float32, any shape. Numbers in (-1, 1) have digits of at most 128 units; larger ones
            a larger leading digit.
        count: Digits.

    Returns:
        Digits as the numbers that they stand for, float32 of x's shape, the leading one first;
        and the remainder in units of the last digit, at most a half.
    """
    digits = []
    for k in range(count):
        x = x * (128.0 if k == 0 else 256.0)
        integer = mx.round(x)
        x = x - integer
        digits.append(integer * 2.0 ** -(7 + 8 * k))
    return digits, x


def digit_products(digits: Sequence[mx.array], first: int, last: int) -> list[mx.array]:
    """A panel of the sum of all products D_i.T @ D_j, by groups of levels i + j.

    Args:
        digits: As `peel` makes them, at most 6, shape (batch, blocks, rows, columns), no more
            than `WINDOW` blocks.
        first: First row of the panel, and first column.
        last: One past the last row; columns go to the end.

    Returns:
        For each group an int64 array of shape (batch, last - first, columns - first), in units
        of `group_unit`.
    """
    batch, blocks, _, columns = digits[0].shape
    groups: dict[int, mx.array] = {}
    for j, group, members in terms(len(digits)):
        # Side by side they make one product, large enough for a GPU.
        left = mx.concatenate([digits[i][..., first:last] for i in members], axis=3)
        product = (left * (1 / group_unit(group))).swapaxes(2, 3) @ digits[j][..., first:]
        shape = (batch, blocks, len(members), last - first, columns - first)
        total = product.astype(mx.int64).reshape(shape).sum(axis=(1, 2))
        groups[group] = groups[group] + total if group in groups else total
    return [groups[group] for group in sorted(groups)]


def terms(count: int) -> list[tuple[int, int, list[int]]]:
    """The products of a panel: a right digit, a group, and the left digits that it has there."""
    members = {
        (j, group): [i for i in range(count) if _group(i + j) == group]
        for j in range(count)
        for group in range(group_count(count))
    }
    return [(j, group, left) for (j, group), left in members.items() if left]


def group_count(digits: int) -> int:
    """Number of groups of the products of some digits."""
    return _group(2 * digits - 2) + 1


def group_unit(group: int) -> float:
    """Unit of a group's integers."""
    return 2.0 ** -(14 + 8 * (4 * group + 4))


def _group(level: int) -> int:
    return max(level - 1, 0) // 4
