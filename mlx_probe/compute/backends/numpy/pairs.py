"""Two matrices of one shape side by side, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute import lapack
from mlx_probe.compute.backends.change import ChangeSums
from mlx_probe.compute.backends.chunk import BLOCK_ELEMENTS, BLOCK_LINES, Chunk
from mlx_probe.compute.backends.numpy.native import NativeChunk
from mlx_probe.compute.backends.protocol import Gram, PairGrams
from mlx_probe.core.dtypes import decode

__all__ = ["HostChange", "HostPairGrams", "line_blocks"]

Floats = NDArray[np.float64]

# Elements at a time: both tensors' and their difference stay in the cache.
BLOCK = 1 << 16


class HostChange:
    """Sums over two tensors' elements, block by block."""

    def __init__(self) -> None:
        self._sums = ChangeSums()
        self._room = np.empty((3, 0))

    def add(self, a: Chunk | NativeChunk, b: Chunk | NativeChunk) -> None:
        """Take in two chunks with the same lines."""
        first, second = a.stored.reshape(-1), b.stored.reshape(-1)
        if self._room.shape[1] < min(first.size, BLOCK):
            self._room = np.empty((3, min(first.size, BLOCK)))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for start in range(0, first.size, BLOCK):
                part = slice(start, start + BLOCK)
                x, y, difference = self._room[:, : first[part].size]
                np.copyto(x, decode(first[part], a.dtype))
                if a is b:
                    self._add(x, x, None)
                    continue
                np.copyto(y, decode(second[part], b.dtype))
                self._add(x, y, difference)

    def _add(self, x: Floats, y: Floats, difference: Floats | None) -> None:
        a = float(x @ x)
        b = a if difference is None else float(y @ y)
        # Squares that add up to a finite number have finite roots.
        if not (math.isfinite(a) and math.isfinite(b)):
            finite_a, finite_b = (int(np.count_nonzero(np.isfinite(each))) for each in (x, y))
            if finite_a + finite_b < 2 * x.size:
                self._sums.add_nonfinite(x.size, x.size - finite_a, x.size - finite_b)
                return
        changed = 0
        if difference is not None:
            np.subtract(y, x, out=difference)
            # Gradual underflow: a difference is 0 only of equal numbers.
            changed = int(np.count_nonzero(difference))
        if difference is None or not changed:
            self._sums.add_equal(x.size, a, a > 0 or bool(x.any()))
            return
        self._sums.add(
            x.size,
            (a, b),
            float(x @ y),
            float(difference @ difference),
            max(float(difference.max()), -float(difference.min())),
            changed,
            (a > 0 or bool(x.any()), b > 0 or bool(y.any())),
        )

    def finish(self) -> ChangeSums:
        """The sums over everything added."""
        return self._sums


class HostPairGrams:
    """Float64 Gram matrices of two matrices and of their difference, from one reading of both.

    Args:
        rows: Rows.
        cols: Columns.
        difference: Whether to make that of B - A.
        sides: Whether to make those of A and B.
    """

    def __init__(self, rows: int, cols: int, difference: bool, sides: bool) -> None:
        self._tall, short = rows >= cols, min(rows, cols)
        self._difference = np.zeros((short, short)) if difference else None
        self._sides = [np.zeros((short, short)) for _ in range(2)] if sides else []

    def add(self, a: Chunk | NativeChunk, b: Chunk | NativeChunk) -> None:
        """Take in two slabs with the same lines, block by block."""
        blocks = (line_blocks(chunk, self._tall) for chunk in (a, b))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for x, y in zip(*blocks, strict=True):
                if self._difference is not None:
                    difference = y - x
                    if difference.any():
                        lapack.add_gram(self._difference, difference)
                for gram, values in zip(self._sides, (x, y), strict=False):
                    lapack.add_gram(gram, values)

    def finish(self) -> PairGrams:
        """The Gram matrices; every element entered exactly."""
        difference = None if self._difference is None else Gram(self._difference, omitted=0.0)
        sides: list[Gram | None] = [Gram(matrix, omitted=0.0) for matrix in self._sides]
        return PairGrams(difference, *(sides or [None, None]))


def line_blocks(chunk: Chunk | NativeChunk, tall: bool) -> Iterator[Floats]:
    """Blocks of a slab in float64, with lines along the long side: shape (k, M).

    Args:
        chunk: A slab, (k, cols) of a tall matrix, (rows, k) of a wide one.
        tall: Which of the two.
    """
    lines = chunk.stored if tall else chunk.stored.T
    height = max(BLOCK_LINES, BLOCK_ELEMENTS // lines.shape[1])
    for start in range(0, len(lines), height):
        yield Chunk(lines[start : start + height], chunk.dtype).values
