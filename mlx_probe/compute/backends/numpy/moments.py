"""Moments on the CPU: by counting bit patterns, or by sums in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.distribution import (
    BIN_BITS,
    Tally,
    moments_of_bins,
    moments_of_values,
)
from mlx_probe.compute.backends.powersums import PowerSums
from mlx_probe.core.dtypes import DTYPES, FLOAT_FORMATS
from mlx_probe.core.records import Moments

__all__ = ["BinPass", "CodePass"]

# Codes that are counted at a time: bincount makes a 64-bit copy of them, and a new table.
COUNTED = 1 << 18

# Elements of wide types at a time: few enough to keep all temporary arrays in the cache, enough to
# make numpy's calls few, because threads wait for each other between them.
BLOCK = 1 << 17

# Elements up to which no bin of 32 bits overflows.
NARROW = (1 << 31) - 1


class CodePass:
    """Moments of types with at most 16 bits, from counts of all their bit patterns."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._dtype = DTYPES[dtype]
        self._word = np.dtype(f"<u{self._dtype.itemsize}")
        self._zero_epsilon = zero_epsilon
        self._counts = np.zeros(1 << (8 * self._word.itemsize), np.int64)

    def add(self, chunk: Chunk) -> None:
        """Count the bit patterns of one chunk."""
        codes = chunk.stored.reshape(-1).view(self._word)
        for start in range(0, codes.size, COUNTED):
            block = codes[start : start + COUNTED]
            if block.size < self._counts.size:
                # Bincount is faster for each code, but makes a table that must be added.
                np.add.at(self._counts, block.astype(np.intp), 1)
            else:
                self.add_counts(np.bincount(block, minlength=self._counts.size))

    def add_counts(self, counts: NDArray[np.integer[Any]]) -> None:
        """Add bit patterns that a device has counted."""
        self._counts += counts

    def finish(self) -> Moments:
        """Exact moments of everything added."""
        present = np.flatnonzero(self._counts > 0)
        patterns = present.astype(self._word).view(self._dtype.storage)
        values = Chunk(patterns, self._dtype.name).values
        stored_format = self._dtype.name if self._dtype.kind == "float" else None
        return moments_of_values(values, self._counts[present], self._zero_epsilon, stored_format)


class BinPass:
    """Moments of 32- and 64-bit types, summed in float64."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._dtype = DTYPES[dtype]
        self._zero_epsilon = zero_epsilon
        self._counts: NDArray[np.integer[Any]] = np.zeros(1 << BIN_BITS, np.int32)
        self._seen = 0
        self._nan = self._inf = self._zero = self._small = 0
        self._min, self._max = math.inf, -math.inf
        self._sums = PowerSums()
        self._fits = {"F32": ("BF16", "F16"), "F64": ("BF16", "F16", "F32")}.get(dtype, ())
        # Made once: the first use of new memory costs more than the work on it.
        self._bins = np.empty(BLOCK, np.intp)
        self._values, self._other = np.empty((2, BLOCK))

    def add(self, chunk: Chunk) -> None:
        """Sum one chunk, a cache-sized block at a time."""
        elements = chunk.stored.reshape(-1)
        # Signalling NaNs become quiet ones; float64 files may lie near the end of the range.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, elements.size, BLOCK):
                block = elements[start : start + BLOCK]
                # Integers are binned as the float64 they become.
                exact = self._dtype.kind == "float"
                self._add_block(block if exact else block.astype(np.float64))

    def _add_block(self, x: NDArray[np.floating[Any]]) -> None:
        self._count_bins(x)
        low, high = float(x.min()), float(x.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite, nans = np.isfinite(x), int(np.count_nonzero(np.isnan(x)))
            self._nan += nans
            self._inf += x.size - int(np.count_nonzero(finite)) - nans
            x = x[finite]
            if not x.size:
                return
            low, high = float(x.min()), float(x.max())
        self._min, self._max = min(self._min, low), max(self._max, high)
        self._fits = tuple(name for name in self._fits if _fits(x, name))
        values, other = self._values[: x.size], self._other[: x.size]
        np.copyto(values, x)
        if float(np.abs(x, out=other.view(x.dtype)[: x.size]).min()) <= self._zero_epsilon:
            # In float64, where epsilon is not rounded.
            np.abs(values, out=other)
            self._small += int(np.count_nonzero(other <= self._zero_epsilon))
            self._zero += int(np.count_nonzero(other == 0))
        self._sums = self._sums.merge(PowerSums.of(values, values, other))

    def _count_bins(self, x: NDArray[np.floating[Any]]) -> None:
        self._seen += x.size
        if self._seen > NARROW:
            self._counts = self._counts.astype(np.int64, copy=False)
        bits = 8 * x.itemsize
        # The words use the buffer of the values, which are computed later.
        words = self._values.view(f"<u{x.itemsize}")[: x.size]
        np.right_shift(x.view(words.dtype), bits - BIN_BITS, out=words)
        bins = self._bins[: x.size]
        np.copyto(bins, words)
        # Not bincount, which would make and clear a table of a million bins for each block. The
        # one has the table's own type: with another type this takes forty times as long.
        np.add.at(self._counts, bins, self._counts.dtype.type(1))

    def finish(self) -> Moments:
        """Moments of everything added; see `moments_of_bins` for the quantiles."""
        tally = Tally(
            self._nan, self._inf, self._zero, self._small, self._min, self._max, self._sums
        )
        stored_format = self._dtype.name if self._dtype.kind == "float" else None
        return moments_of_bins(self._counts, tally, stored_format, self._fits)


def _fits(x: NDArray[np.floating[Any]], name: str) -> bool:
    """Whether a narrower format holds every element of a finite float32 or float64 array."""
    lost = FLOAT_FORMATS[f"F{8 * x.itemsize}"].precision - FLOAT_FORMATS[name].precision
    # The bits of the fraction that the format lacks decide nearly always, and fast.
    if int(np.bitwise_or.reduce(x.view(f"<u{x.itemsize}"))) & ((1 << lost) - 1):
        return False
    narrow = x.astype(np.float16 if name == "F16" else np.float32, copy=False)
    if name == "BF16" and np.bitwise_or.reduce(narrow.view("<u4")) & 0xFFFF:
        return False
    return bool(np.all(narrow == x))
