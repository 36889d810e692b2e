"""Moments on the CPU: by counting bit patterns, or by sums in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.backends.chunk import Chunk
from mlx_probe.backends.distribution import BIN_BITS, Tally, moments_of_bins, moments_of_values
from mlx_probe.backends.powersums import PowerSums
from mlx_probe.dtypes import DTYPES
from mlx_probe.records import Moments

__all__ = ["BinPass", "CodePass"]

# Elements that moments are summed over at a time: 512 KiB in float64, so the passes over a
# block stay in the second-level cache.
BLOCK = 1 << 16

# Elements that are counted at a time: bincount makes 64-bit copies of what it counts.
COUNTED = 1 << 19


class CodePass:
    """Moments of types with at most 16 bits, from counts of all their bit patterns."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._dtype = DTYPES[dtype]
        self._zero_epsilon = zero_epsilon
        self._counts = np.zeros(1 << (8 * self._dtype.itemsize), np.int64)

    def add(self, chunk: Chunk) -> None:
        """Count the bit patterns of one chunk."""
        codes = chunk.stored.reshape(-1).view(f"<u{self._dtype.itemsize}")
        for start in range(0, codes.size, COUNTED):
            block = codes[start : start + COUNTED]
            self.add_counts(np.bincount(block, minlength=self._counts.size))

    def add_counts(self, counts: NDArray[np.integer[Any]]) -> None:
        """Take in bit patterns that were counted elsewhere."""
        self._counts += counts

    def finish(self) -> Moments:
        """Exact moments of everything added."""
        patterns = np.arange(self._counts.size).astype(f"<u{self._dtype.itemsize}")
        values = Chunk(patterns.view(self._dtype.storage), self._dtype.name).values
        stored_format = self._dtype.name if self._dtype.kind == "float" else None
        return moments_of_values(values, self._counts, self._zero_epsilon, stored_format)


class BinPass:
    """Moments of 32- and 64-bit types, summed in float64."""

    def __init__(self, dtype: str, zero_epsilon: float) -> None:
        self._dtype = DTYPES[dtype]
        self._zero_epsilon = zero_epsilon
        self._counts = np.zeros(1 << BIN_BITS, np.int64)
        self._nan = self._inf = self._zero = self._small = 0
        self._min, self._max = np.inf, -np.inf
        self._sums = PowerSums()
        self._fits = {"F32": ("BF16", "F16"), "F64": ("BF16", "F16", "F32")}.get(dtype, ())

    def add(self, chunk: Chunk) -> None:
        """Sum one chunk, a cache-sized block at a time."""
        elements = chunk.stored.reshape(-1)
        for start in range(0, elements.size, COUNTED):
            stored = elements[start : start + COUNTED]
            values = Chunk(stored, self._dtype.name).values
            # Integers are binned as the float64 they become.
            binned = stored if self._dtype.kind == "float" else values
            words = binned.view(f"<u{binned.itemsize}")
            self._counts += np.bincount(
                words >> (8 * words.itemsize - BIN_BITS), minlength=self._counts.size
            )
            self._fits = tuple(name for name in self._fits if _fits(stored, name))
            for first in range(0, values.size, BLOCK):
                self._add_block(values[first : first + BLOCK])

    def _add_block(self, x: NDArray[np.float64]) -> None:
        finite = np.isfinite(x)
        if not finite.all():
            nans = int(np.isnan(x).sum())
            self._nan += nans
            self._inf += x.size - int(finite.sum()) - nans
            x = x[finite]
            if not x.size:
                return
        self._zero += x.size - int(np.count_nonzero(x))
        self._small += int(np.count_nonzero(np.abs(x) <= self._zero_epsilon))
        self._min = min(self._min, float(x.min()))
        self._max = max(self._max, float(x.max()))
        with np.errstate(over="ignore", invalid="ignore"):  # float64 files near the range's end
            self._sums = self._sums.merge(PowerSums.of(x))

    def finish(self) -> Moments:
        """Moments of everything added; see `moments_of_bins` for the quantiles."""
        tally = Tally(
            self._nan, self._inf, self._zero, self._small, self._min, self._max, self._sums
        )
        stored_format = self._dtype.name if self._dtype.kind == "float" else None
        return moments_of_bins(self._counts, tally, stored_format, self._fits)


def _fits(x: NDArray[Any], name: str) -> bool:
    """Whether a narrower format holds every finite element of a float32 or float64 array."""
    # A glance at the beginning spares most arrays the full look.
    for part in (x[:1024], x):
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = part.astype(np.float16 if name == "F16" else np.float32)
        exact = narrow == part
        if name == "BF16":
            exact &= (narrow.view(np.uint32) & 0xFFFF) == 0
        if not np.all(exact | ~np.isfinite(part)):
            return False
    return True
