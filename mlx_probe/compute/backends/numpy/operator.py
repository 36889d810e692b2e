"""A matrix in float32, for products with blocks of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.dtypes import decode

if TYPE_CHECKING:
    from mlx_probe.compute.backends.chunk import Chunk
    from mlx_probe.compute.backends.numpy.native import NativeChunk

__all__ = ["SlabOperator"]

# Slabs whose largest element lies between 2**-33 and 2**32 are not scaled.
_MODERATE = 32


class SlabOperator:
    """Slabs in float32, those of large or small elements scaled by a power of two.

    Products in float32 neither overflow nor underflow; sums over slabs are float64.
    """

    def __init__(self, rows: int, cols: int) -> None:
        self._tall = rows >= cols
        self._short, self._long = min(rows, cols), max(rows, cols)
        self._slabs: list[tuple[NDArray[np.float32], int]] = []

    def add(self, chunk: Chunk | NativeChunk) -> None:
        """Keep one slab: lines of the long side, each as long as the short side."""
        x = decode(chunk.stored, chunk.dtype)
        exponent = int(np.frexp(max(x.max(initial=0.0), -x.min(initial=0.0)))[1])
        # Squares of these elements and their sums are far from both ends of float32's range: the
        # scale would cost a copy and change no bit.
        exponent = 0 if -_MODERATE <= exponent <= _MODERATE else exponent
        if exponent:
            x = np.ldexp(x, -exponent)
        # Views of the file are read-only, and this chunk's memory is released after it.
        x = x.astype(np.float32, copy=not x.flags.writeable)
        self._slabs.append((x if self._tall else x.T, exponent))

    def apply(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """The Gram matrix of the short side times a block of vectors, shape (M, k)."""
        narrow = v.astype(np.float32)
        result = np.zeros((self._short, v.shape[1]))
        for x, exponent in self._slabs:
            result += np.ldexp((x.T @ (x @ narrow)).astype(np.float64), 2 * exponent)
        return result

    def along(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lines of the long side times vectors of shape (M, k), shape (L, k)."""
        narrow, result = v.astype(np.float32), np.zeros((self._long, v.shape[1]))
        at = 0
        for x, exponent in self._slabs:
            result[at : at + len(x)] = np.ldexp((x @ narrow).astype(np.float64), exponent)
            at += len(x)
        return result

    def across(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The transpose of `along` times vectors of shape (L, k), shape (M, k)."""
        narrow, result = u.astype(np.float32), np.zeros((self._short, u.shape[1]))
        at = 0
        for x, exponent in self._slabs:
            part = narrow[at : at + len(x)]
            result += np.ldexp((x.T @ part).astype(np.float64), exponent)
            at += len(x)
        return result
