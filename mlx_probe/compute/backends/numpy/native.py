"""Chunks and moments by the compiled kernels, which read stored elements once.

A part of a chunk is decoded once: the pass over its elements leaves them in float64 for the Gram
matrix.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.counts import TableCounts
from mlx_probe.compute.backends.distribution import BIN_BITS, moments_of_bins, smallest_normal
from mlx_probe.compute.backends.distribution import Tally as TallyOfBins
from mlx_probe.compute.backends.numpy.moments import moments_of_codes
from mlx_probe.compute.backends.powersums import PowerSums
from mlx_probe.compute.backends.subnormals import SubnormalBins
from mlx_probe.compute.native.elements import Lines, Tally
from mlx_probe.compute.native.lines import plain_lines, reads
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.machine import usable_cores
from mlx_probe.core.records import Moments

__all__ = ["NativeBinPass", "NativeChunk", "NativeCodePass", "plain_chunk"]


# First bin of either sign, and bins of a binade of one sign.
_SIGNS, _BINADE = (0, 1 << (BIN_BITS - 1)), 1 << (BIN_BITS - 9)


class NativeChunk:
    """Stored elements that kernels decode when a pass asks for them; used like a `Chunk`.

    Args:
        lines: The elements; they are read as long as this chunk is used.
        shape: Shape of the chunk, as many elements; None for that of the matrix.
        panel: Memory for `values`, of the lines' shape; None to make it when it is needed.

    Attributes:
        lines: The same lines.
        shape: Shape of the chunk.
        dtype: Key of `DTYPES`.
    """

    def __init__(
        self,
        lines: Lines,
        shape: tuple[int, ...] | None = None,
        panel: NDArray[np.float64] | None = None,
    ) -> None:
        self.lines, self.dtype = lines, lines.dtype
        self.shape = shape or lines.shape[:: -1 if lines.transposed else 1]
        self._panel, self._is_filled = panel, False

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @cached_property
    def stored(self) -> NDArray[Any]:
        """Words as in the file, or the float32 numbers of packed ones."""
        lines = self.lines
        if lines.is_plain:
            return lines.words.reshape(self.shape)
        decoded = lines.decode()
        return (decoded.T if lines.transposed else decoded).reshape(self.shape)

    @property
    def values(self) -> NDArray[np.float64]:
        """The elements, float64, of the chunk's shape."""
        if self._panel is None:
            self._panel = np.empty(self.lines.shape)
        if not self._is_filled:
            self.read(None, None)
        values = self._panel.T if self.lines.transposed else self._panel
        return values.reshape(self.shape)

    def read(self, tally: Tally | None, counts: NDArray[np.uint32] | None) -> None:
        """Read all elements into tally and counts, and into `values` if there is memory for it.

        Args:
            tally: For elements of type F32; None if they are counted as codes.
            counts: See `Lines.add` and `Lines.count`.
        """
        if DTYPES[self.dtype].itemsize > 2:
            self.lines.add(tally, counts, self._panel)
        else:
            self.lines.count(counts, self._panel)
        self._is_filled = self._panel is not None

    def parts(self, axis: int, extent: int) -> Iterator[NativeChunk]:
        """Parts of a 2-D chunk, each ``extent`` long on an axis, in order.

        `values` of a part are overwritten when the next part is requested, and those of the last
        one after the end: their memory serves for other chunks.

        Args:
            axis: 0 for rows, 1 for columns.
            extent: A multiple of 256, so that no block of ggml is cut.
        """
        whole, lines = self.shape[axis], self.lines
        if whole <= extent and self._panel is not None:
            yield self
            return
        size = min(extent, whole) * self.size // whole
        room = _taken(size)
        for start in range(0, whole, extent):
            part = lines.part(axis ^ lines.transposed, start, min(start + extent, whole))
            yield NativeChunk(part, panel=room[: prod(part.shape)].reshape(part.shape))
        if len(room) <= _KEPT_SIZE:
            _kept.append(room)


# Memory of panels that nobody uses now. The system takes longer to give new pages than kernels to
# fill them.
_kept: deque[NDArray[np.float64]] = deque(maxlen=usable_cores())

# Numbers of a panel that is kept; on larger ones products take far longer.
_KEPT_SIZE = 1 << 18


def _taken(size: int) -> NDArray[np.float64]:
    """Memory for at least ``size`` numbers, which nobody else uses."""
    with suppress(IndexError):
        room = _kept.pop()
        if len(room) >= size:
            return room
    return np.empty(size)


def plain_chunk(stored: NDArray[Any], dtype: str) -> NativeChunk | None:
    """A chunk of stored elements; None if kernels cannot read them where they are."""
    if not reads(dtype) or (stored.ndim != 2 and not stored.flags.c_contiguous):
        return None
    lines = plain_lines(stored if stored.ndim == 2 else stored.reshape(1, -1), dtype)
    return None if lines is None else NativeChunk(lines, stored.shape)


def _native(chunk: Chunk | NativeChunk) -> NativeChunk:
    if isinstance(chunk, NativeChunk):
        return chunk
    made = plain_chunk(np.ascontiguousarray(chunk.stored), chunk.dtype)
    assert made is not None
    return made


class NativeCodePass:
    """Moments of floats of at most 16 bits, from counts of all their bit patterns."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._dtype, self._zero_epsilon = DTYPES[dtype], zero_epsilon
        bits = 8 * self._dtype.itemsize
        # Neighbours are counted in different tables.
        self._counts = TableCounts(bits, 4 if bits == 8 else 2)

    def add(self, chunk: Chunk | NativeChunk) -> None:
        """Count the bit patterns of one chunk."""
        chunk = _native(chunk)
        counts = self._counts.room(chunk.size)
        if counts is None:
            word = np.dtype(f"<u{self._dtype.itemsize}")
            self._counts.add(chunk.stored.reshape(-1).view(word).copy())
        chunk.read(None, counts)

    def finish(self) -> Moments:
        """Exact moments of everything added."""
        return moments_of_codes(self._counts.occurrences(), self._dtype.name, self._zero_epsilon)


class NativeBinPass:
    """Moments of float32 elements, summed in float64."""

    def __init__(self, zero_epsilon: float) -> None:
        self._tally = Tally.empty(zero_epsilon)
        self._counts = TableCounts(BIN_BITS, 1, row=256, gap=8, exchanged=_SIGNS[1])
        self._subnormals = SubnormalBins("F32")

    def add(self, chunk: Chunk | NativeChunk) -> None:
        """Sum one chunk."""
        chunk = _native(chunk)
        subnormal = self._tally.subnormal
        bins = self._counts.room(chunk.size)
        chunk.read(self._tally, bins)
        if bins is None or self._tally.subnormal > subnormal:
            self._add_apart(chunk.stored.reshape(-1), bins is None)

    def _add_apart(self, x: NDArray[np.float32], few: bool) -> None:
        """Count subnormals, which are rare, and the bins of so ``few`` elements."""
        if few:
            self._counts.add(x.view("<u4") >> (32 - BIN_BITS))
        size = np.abs(x)
        below = (size > 0) & (size < smallest_normal("F32"))
        if below.any():
            self._subnormals.add(x[below])

    def finish(self) -> Moments:
        """Moments of everything added; see `moments_of_bins` for the quantiles."""
        t = self._tally
        sums = PowerSums(t.count, t.mean, t.s2, t.s3, t.s4)
        counts = t.nan, t.inf, t.zero, t.small
        tally = TallyOfBins(*counts, t.min, t.max, sums, is_constant=t.min == t.max)
        fits = [name for name, is_held in (("BF16", t.bf16), ("F16", t.f16)) if is_held]
        spans, bins = self._spans(), self._subnormals.bins()
        occurrences = self._counts.occurrences(*spans)
        if not t.nan + t.inf:
            # Zeros and subnormals are in the first binade of either sign.
            self._counts.close(*((sign, sign + _BINADE) for sign in _SIGNS), *spans)
        return moments_of_bins(occurrences, tally, "F32", fits, bins)

    def _spans(self) -> list[tuple[int, int]]:
        """Bins of all normal elements, by sign: whole binades from the least to the largest."""
        t = self._tally
        largest = int(np.abs(np.array([t.min, t.max], np.float32)).max().view(np.uint32))
        first, last = max((t.nonzero + 1) >> 23, 1), (largest >> 23) + 1
        if not t.count or first >= last:
            return [(0, 0)]
        return [(sign + first * _BINADE, sign + last * _BINADE) for sign in _SIGNS]
