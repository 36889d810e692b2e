"""The numpy backend: float64 on the CPU, always there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.backends.distribution import BIN_BITS, Tally, moments_of_bins, moments_of_values
from mlx_probe.backends.powersums import PowerSums
from mlx_probe.backends.protocol import Gram
from mlx_probe.backends.quantization import QuantizationSums
from mlx_probe.dtypes import DTYPES, decode
from mlx_probe.errors import SpectrumError
from mlx_probe.records import Moments

__all__ = [
    "BinPass",
    "Chunk",
    "CodePass",
    "NumpyBackend",
    "SlabGram",
    "SlabQR",
    "qr_parts",
]

# Elements that moments are summed over at a time: 512 KiB in float64, so the passes over a
# block stay in the second-level cache.
BLOCK = 1 << 16

# Elements that are counted at a time: bincount makes 64-bit copies of what it counts.
COUNTED = 1 << 19

# Elements that enter a Gram matrix at a time, and rows of a large one that a product makes at a
# time: what a slab takes in float64, and its product, would be several times the slab itself.
GRAM_ELEMENTS, GRAM_STRIPE, GRAM_LARGE = 1 << 20, 256, 1024


@dataclass(frozen=True)
class Chunk:
    """Stored words in memory, decoded at most once.

    Attributes:
        stored: Contiguous words as in the file.
        dtype: Key of `DTYPES`.
    """

    stored: NDArray[Any]
    dtype: str

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The elements, float64, same shape as ``stored``."""
        with np.errstate(invalid="ignore"):  # signalling NaNs turn quiet, as they should
            return decode(self.stored, self.dtype).astype(np.float64)


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


class SlabGram:
    """Float64 Gram matrix of the short side, slab by slab."""

    def __init__(self, rows: int, cols: int) -> None:
        self._tall = rows >= cols
        self._matrix = np.zeros((min(rows, cols),) * 2)
        self._stripe = GRAM_STRIPE if min(rows, cols) > GRAM_LARGE else GRAM_LARGE

    def add(self, chunk: Chunk) -> None:
        """Add one slab's part to the lower triangle, stripe by stripe."""
        stored = chunk.stored if self._tall else chunk.stored.T
        height = max(256, GRAM_ELEMENTS // len(self._matrix))
        for start in range(0, len(stored), height):
            x = Chunk(stored[start : start + height], chunk.dtype).values
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                for first in range(0, len(self._matrix), self._stripe):
                    last = first + self._stripe
                    # Of the first stripe, numpy sees X.T @ X and calls BLAS syrk.
                    self._matrix[first:last, :last] += x[:, first:last].T @ x[:, :last]

    def finish(self) -> Gram:
        """The Gram matrix; every element entered exactly."""
        for first in range(0, len(self._matrix), self._stripe):
            last = first + self._stripe
            self._matrix[first:last, last:] = self._matrix[last:, first:last].T
        return Gram(self._matrix, omitted=0.0)


def qr_parts(x: Any) -> Iterator[Any]:
    """A slab in parts about as tall as wide, so that a fold takes a few triangles' memory."""
    step = max(x.shape[1], 256)
    for start in range(0, x.shape[0], step):
        yield x[start : start + step]


class SlabQR:
    """Float64 singular values by sequential QR: slabs are folded into one triangle.

    Backward stable with a bound of order M**1.5 eps sigma_1, and never holds more than the
    triangle and one slab. Source: Demmel, Grigori, Hoemmen, Langou 2012,
    "Communication-optimal parallel and sequential QR and LU factorizations", section 4;
    LAPACK geqrf and gesdd.
    """

    def __init__(self, rows: int, cols: int) -> None:
        self._tall = rows >= cols
        self._triangle = np.zeros((0, min(rows, cols)))

    def add(self, chunk: Chunk) -> None:
        """Fold one slab into the triangle."""
        x = chunk.values if self._tall else chunk.values.T
        for part in qr_parts(x):
            stacked = np.concatenate((self._triangle, part))
            # What is not taller than wide goes to the SVD as it is.
            if len(stacked) > len(part.T):
                stacked = np.asarray(np.linalg.qr(stacked, mode="r"))
            self._triangle = stacked

    def singular_values(self) -> NDArray[np.float64]:
        """Singular values of everything added: float64, descending.

        Raises:
            SpectrumError: The SVD did not converge.
        """
        try:
            return np.asarray(np.linalg.svd(self._triangle, compute_uv=False), np.float64)
        except np.linalg.LinAlgError as error:
            raise SpectrumError(
                f"LAPACK gesdd: {error}", "Report the tensor; its other columns are valid"
            ) from error


class NumpyBackend:
    """Element work and LAPACK in float64 through numpy."""

    name = "numpy"
    device = "cpu"

    @property
    def default_workers(self) -> int:
        """One for each core that this process may use."""
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    def load(self, stored: NDArray[Any], dtype: str) -> Chunk:
        """Stored words, contiguous and out of the map; what is not of a map is not copied."""
        ours = stored.flags.writeable and stored.flags.c_contiguous
        return Chunk(stored if ours else np.array(stored, order="C"), dtype)

    def element_pass(self, dtype: str, zero_epsilon: float) -> CodePass | BinPass:
        """Moments: by bit patterns up to 16 bits, by float64 sums above."""
        kind = CodePass if DTYPES[dtype].itemsize <= 2 else BinPass
        return kind(dtype, zero_epsilon)

    def gram_pass(self, rows: int, cols: int, dtype: str) -> SlabGram:
        """Float64 Gram matrix."""
        return SlabGram(rows, cols)

    def triangular_pass(self, rows: int, cols: int, dtype: str) -> SlabQR:
        """Float64 QR."""
        return SlabQR(rows, cols)

    def quantization_pass(
        self, rows: int, cols: int, dtype: str, bits: Sequence[int]
    ) -> QuantizationSums:
        """Affine rounding errors."""
        return QuantizationSums(rows, cols, dtype, bits)

    def eigvalsh(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Eigenvalues, ascending (LAPACK syevd).

        Raises:
            SpectrumError: The iteration did not converge.
        """
        try:
            return np.asarray(np.linalg.eigvalsh(matrix), np.float64)
        except np.linalg.LinAlgError as error:
            raise SpectrumError(
                f"LAPACK syevd: {error}", "Report the tensor; its other columns are valid"
            ) from error

    def working_set(self, slab_elements: int, short: int) -> int:
        """A slab as words, decoded and unpacking; the Gram matrix or the QR's two triangles."""
        return 32 * slab_elements + 64 * short**2 + (24 << BIN_BITS)

    def device_memory(self) -> tuple[int, int]:
        """No device: zeros."""
        return 0, 0
