"""Moments on the CPU: by counting bit patterns, or by sums in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.counts import CodeCounts, Occurrences
from mlx_probe.compute.backends.distribution import (
    BIN_BITS,
    Tally,
    moments_of_bins,
    moments_of_values,
    smallest_normal,
)
from mlx_probe.compute.backends.powersums import PowerSums
from mlx_probe.compute.backends.subnormals import SubnormalBins
from mlx_probe.core.dtypes import DTYPES, FLOAT_FORMATS
from mlx_probe.core.records import Moments
from mlx_probe.core.scaling import unit_exponent

__all__ = ["BinPass", "CodePass", "moments_of_codes"]

# Elements of wide types at a time: few enough to keep all temporary arrays in the cache, enough to
# make numpy's calls few, because threads wait for each other between them.
BLOCK = 1 << 17

# Up to here float64 holds every integer.
_EXACT = 1 << 53


class CodePass:
    """Moments of types with at most 16 bits, from counts of all their bit patterns."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._dtype = DTYPES[dtype]
        self._word = np.dtype(f"<u{self._dtype.itemsize}")
        self._zero_epsilon = zero_epsilon
        self._counts = CodeCounts(8 * self._word.itemsize)

    def add(self, chunk: Chunk) -> None:
        """Count the bit patterns of one chunk."""
        self.add_codes(chunk.stored.reshape(-1).view(self._word))

    def add_codes(self, codes: NDArray[np.integer[Any]]) -> None:
        """Add bit patterns, shape (n,)."""
        self._counts.add(codes)

    def add_counts(self, counts: NDArray[np.integer[Any]]) -> None:
        """Add bit patterns that a device has counted."""
        self._counts.add_table(counts)

    def finish(self) -> Moments:
        """Exact moments of everything added."""
        return moments_of_codes(self._counts.occurrences(), self._dtype.name, self._zero_epsilon)


class BinPass:
    """Moments of 32- and 64-bit types, summed in float64."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._dtype = DTYPES[dtype]
        self._zero_epsilon = zero_epsilon
        self._format = dtype if self._dtype.kind == "float" else "F64"
        self._normal = smallest_normal(self._format)
        self._counts, self._subnormals = CodeCounts(BIN_BITS), SubnormalBins(self._format)
        self._nan = self._inf = self._zero = self._small = 0
        self._min: float | int = math.inf
        self._max: float | int = -math.inf
        self._sums = PowerSums()
        self._origin: int | None = None
        self._fits = {"F32": ("BF16", "F16"), "F64": ("BF16", "F16", "F32")}.get(dtype, ())
        # Made once: the first use of new memory costs more than the work on it.
        self._room = 0

    def add(self, chunk: Chunk) -> None:
        """Sum one chunk, a cache-sized block at a time."""
        elements = chunk.stored.reshape(-1)
        self._make_room(min(elements.size, BLOCK))
        # Signalling NaNs become quiet ones.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, elements.size, BLOCK):
                block = elements[start : start + BLOCK]
                if self._dtype.kind == "float":
                    self._add_floats(block)
                else:
                    self._add_integers(block)

    def _make_room(self, size: int) -> None:
        if size > self._room:
            self._room = size
            self._bins = np.empty(size, np.intp)
            self._values, self._other = np.empty((2, size))

    def _add_floats(self, x: NDArray[np.floating[Any]]) -> None:
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
        values = self._values[: x.size]
        np.copyto(values, x)
        self._count_small(x)
        exponent = unit_exponent(max(-low, high))
        if exponent:
            np.ldexp(values, -exponent, out=values)
        self._merge(values, exponent)

    def _add_integers(self, x: NDArray[np.integer[Any]]) -> None:
        """Integers are binned as the float64 they become; their sums know every unit."""
        low, high = int(x.min()), int(x.max())
        self._min, self._max = min(self._min, low), max(self._max, high)
        values = self._values[: x.size]
        np.copyto(values, x)
        self._count_bins(values)
        self._count_small(values)
        if self._origin is None:
            # Beyond 2**53 float64 skips integers: their distances from one of them are smaller.
            self._origin = low if max(-low, high) > _EXACT else 0
        if self._origin:
            if max(high - self._origin, self._origin - low) <= _EXACT:
                # Differences of 64-bit words wrap around and are right.
                origin = np.array(self._origin, x.dtype)
                np.copyto(values, (x - origin).view(f"<i{x.itemsize}"))
            else:
                values -= float(self._origin)
        self._merge(values, 0)

    def _merge(self, values: NDArray[np.float64], exponent: int) -> None:
        sums = PowerSums.of(values, values, self._other[: values.size], exponent)
        self._sums = self._sums.merge(sums)

    def _count_small(self, x: NDArray[np.floating[Any]]) -> None:
        """Count zeros, small elements and subnormals; ``_values`` holds the elements, too."""
        other = self._other[: x.size]
        least = float(np.abs(x, out=other.view(x.dtype)[: x.size]).min())
        if least > max(self._zero_epsilon, self._normal):
            return
        # In float64, where epsilon is not rounded.
        np.abs(self._values[: x.size], out=other)
        self._small += int(np.count_nonzero(other <= self._zero_epsilon))
        zeros = int(np.count_nonzero(other == 0))
        self._zero += zeros
        below = other < self._normal
        if int(np.count_nonzero(below)) > zeros:
            self._subnormals.add(x[below & (other > 0)])

    def _count_bins(self, x: NDArray[np.floating[Any]]) -> None:
        bits = 8 * x.itemsize
        # The words use a buffer whose content is computed later.
        words = self._other.view(f"<u{x.itemsize}")[: x.size]
        np.right_shift(x.view(words.dtype), bits - BIN_BITS, out=words)
        bins = self._bins[: x.size]
        np.copyto(bins, words)
        self._counts.add(bins)

    def finish(self) -> Moments:
        """Moments of everything added; see `moments_of_bins` for the quantiles."""
        sums = self._sums
        if self._origin:
            mean = float(Fraction(self._origin) + Fraction(sums.mean))
            sums = replace(sums, mean=mean)
        counts = self._nan, self._inf, self._zero, self._small
        low, high = self._min, self._max
        tally = Tally(*counts, float(low), float(high), sums, is_constant=low == high)
        stored_format = self._dtype.name if self._dtype.kind == "float" else None
        bins = self._subnormals.bins()
        return moments_of_bins(self._counts.occurrences(), tally, stored_format, self._fits, bins)


def moments_of_codes(occurrences: Occurrences, dtype: str, zero_epsilon: float) -> Moments:
    """Exact moments of elements of at most 16 bits.

    Args:
        occurrences: Their bit patterns.
        dtype: Key of `DTYPES`.
        zero_epsilon: Magnitude up to which `Moments.small_count` counts.
    """
    codes, counts = occurrences
    form = DTYPES[dtype]
    patterns = codes.astype(f"<u{form.itemsize}").view(form.storage)
    stored_format = dtype if form.kind == "float" else None
    return moments_of_values(Chunk(patterns, dtype).values, counts, zero_epsilon, stored_format)


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
