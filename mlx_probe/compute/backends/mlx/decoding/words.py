"""Words of a packed block: cut on the host, unpacked and scaled on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

__all__ = ["Groups", "loaded", "row_bytes", "too_small", "unpacked"]

# With scales from here on, no product with a code (at least 2**-16) and no sum of two products
# (a multiple of 2**-23 of the smaller scale) is subnormal in float32.
_LEAST_SCALE = 2.0**-100


def loaded(stored: NDArray[Any]) -> mx.array:
    """Words in MLX's memory, whatever their strides and alignment in the file."""
    return mx.array(np.require(stored, requirements=("C", "ALIGNED")))


def row_bytes(words: NDArray[Any], rows: slice, first: int, last: int) -> mx.array:
    """Bytes of lines that are packed along their last axes.

    Args:
        words: Little-endian words of any width, shape (lines, ...).
        rows: The lines.
        first: First bit of a line that is needed, at the start of a word.
        last: One past the last; the word that holds it is loaded to its end.

    Returns:
        uint8, shape (lines, bytes).
    """
    width = 8 * words.itemsize
    stored = words.reshape(len(words), -1)[rows, first // width : -(-last // width)]
    return loaded(stored).view(mx.uint8)


def unpacked(data: mx.array, bits: int) -> mx.array:
    """Codes of a few bits each, packed without gaps from the lowest bit of the first byte up.

    Args:
        data: uint8, shape (lines, bytes).
        bits: Width of a code, 1 to 8.

    Returns:
        uint8, shape (lines, codes); the codes of unfinished runs of eight are left out, unless
        ``bits`` is a power of two.
    """
    lines = data.shape[0]
    if bits == 8:
        return data
    mask = mx.array((1 << bits) - 1, mx.uint8)
    if 8 % bits == 0:
        shifts = mx.arange(0, 8, bits, dtype=mx.uint8)
        return ((data[..., None] >> shifts) & mask).reshape(lines, -1)
    # Eight codes fill ``bits`` bytes; a code lies in one byte or in two.
    octets = data[:, : data.shape[1] // bits * bits].reshape(lines, -1, bits)
    starts = np.arange(8) * bits
    low, shifts = mx.array(starts // 8), mx.array((starts % 8).astype(np.uint16))
    high = mx.array(np.minimum(starts // 8 + 1, bits - 1))
    pairs = mx.take(octets, low, axis=2).astype(mx.uint16)
    pairs = pairs | (mx.take(octets, high, axis=2).astype(mx.uint16) << 8)
    return ((pairs >> shifts).astype(mx.uint8) & mask).reshape(lines, -1)


def too_small(*factors: NDArray[np.float32]) -> bool:
    """Whether scales may make subnormal elements, or steps on the way to them."""
    return any(((each != 0) & (np.abs(each) < _LEAST_SCALE)).any() for each in factors)


@dataclass(frozen=True)
class Groups:
    """Which factor of its row belongs to each column of a block.

    Attributes:
        span: The groups that the columns need.
        index: The group of each column, counted from the first of these.
        extent: Columns of a group if the columns are whole groups in order; 0 if not.
    """

    span: slice
    index: NDArray[np.intp]
    extent: int = 0

    @classmethod
    def of_columns(cls, cols: slice, group: int) -> Groups:
        """Groups of ``group`` columns that follow each other."""
        first, last = cols.start // group, -(-cols.stop // group)
        whole = cols.start % group == 0 and cols.stop % group == 0
        return cls(
            slice(first, last),
            np.arange(cols.start, cols.stop) // group - first,
            group if whole else 0,
        )

    @classmethod
    def of_order(cls, order: NDArray[Any], groups: int) -> Groups | None:
        """Groups that ``order`` names for each column; None if it names one beyond ``groups``."""
        low, high = int(order.min()), int(order.max())
        if low < 0 or high >= groups:
            return None
        return cls(slice(low, high + 1), order.astype(np.intp) - low)

    def apply(
        self, step: Callable[[mx.array, mx.array], mx.array], values: mx.array, factors: mx.array
    ) -> mx.array:
        """One step of arithmetic between elements and the factors of their groups.

        Args:
            step: Such as `mx.multiply`.
            values: Shape (rows, columns).
            factors: Shape (rows, groups in `span`), or (1, groups) for all rows.
        """
        if factors.shape[1] == 1:
            return step(values, factors)
        if not self.extent:
            index = mx.array(self.index.astype(np.uint32))
            return step(values, mx.take(factors, index, axis=1))
        rows, cols = values.shape
        return step(values.reshape(rows, -1, self.extent), factors[..., None]).reshape(rows, cols)
