"""The numpy backend: float64 on the CPU, always there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.backends.chunk import Chunk
from mlx_probe.backends.distribution import BIN_BITS
from mlx_probe.backends.numpy_moments import BinPass, CodePass
from mlx_probe.backends.protocol import Gram
from mlx_probe.backends.quantization import QuantizationSums
from mlx_probe.dtypes import DTYPES
from mlx_probe.errors import SpectrumError

__all__ = ["NumpyBackend", "SlabGram", "SlabQR", "qr_parts"]

# Elements that enter a Gram matrix at a time, and rows of a large one that a product makes at a
# time: what a slab takes in float64, and its product, would be several times the slab itself.
GRAM_ELEMENTS, GRAM_STRIPE, GRAM_LARGE = 1 << 20, 256, 1024


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
