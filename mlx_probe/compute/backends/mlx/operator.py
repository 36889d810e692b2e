"""A matrix on the device, for products with blocks of vectors."""

from __future__ import annotations

from itertools import pairwise

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.mlx.chunk import DeviceChunk
from mlx_probe.compute.backends.mlx.digits import scaled

__all__ = ["DeviceOperator"]


class DeviceOperator:
    """The Gram matrix of the short side as an operator: slabs in float32, never multiplied out.

    All slabs are scaled by one power of two, so that products neither overflow nor underflow,
    and are added on the device: one transfer for each block of vectors. There are fewer slabs
    than lines in a slab, so that this sum rounds less than the products do.
    """

    def __init__(self, rows: int, cols: int) -> None:
        self._tall = rows >= cols
        self._short = min(rows, cols)
        self._slabs: list[mx.array] = []
        self._largest: list[mx.array] = []
        self._exponent: int | None = None

    def add(self, chunk: DeviceChunk) -> None:
        """Keep one slab: lines of the long side, each as long as the short side."""
        x = chunk.values if self._tall else chunk.values.T
        self._slabs.append(x)
        # Computed later, when all slabs are there.
        self._largest.append(mx.abs(x).max())

    def apply(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """The Gram matrix times a block of vectors, shape (M, k); float32 throughout."""
        if not self._slabs:
            return np.zeros((self._short, v.shape[1]))
        exponent, narrow = self._scaled(), mx.array(v.astype(np.float32))
        first, *others = (x.T @ (x @ narrow) for x in self._slabs)
        return _unscaled(sum(others, start=first), 2 * exponent)

    def along(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lines of the long side times vectors of shape (M, k), shape (L, k); float32."""
        exponent, narrow = self._scaled(), mx.array(v.astype(np.float32))
        return _unscaled(mx.concatenate([x @ narrow for x in self._slabs]), exponent)

    def across(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The transpose of `along` times vectors of shape (L, k), shape (M, k); float32."""
        exponent, narrow = self._scaled(), mx.array(u.astype(np.float32))
        edges = np.cumsum([0, *(len(x) for x in self._slabs)]).tolist()
        first, *others = (
            x.T @ narrow[top:bottom]
            for x, (top, bottom) in zip(self._slabs, pairwise(edges), strict=True)
        )
        return _unscaled(sum(others, start=first), exponent)

    def _scaled(self) -> int:
        """The exponent of the scale of all slabs, which are scaled once."""
        if self._exponent is None:
            self._exponent = self._scale()
        return self._exponent

    def _scale(self) -> int:
        """Scale all elements into (-1, 1); the exponent of the scale."""
        exponent = int(np.frexp(max(float(np.array(each)) for each in self._largest))[1])
        for i, x in enumerate(self._slabs):
            self._slabs[i] = scaled(x, -exponent)
            # One by one: together they would be a second copy of the matrix.
            mx.eval(self._slabs[i])
        return exponent


def _unscaled(product: mx.array, exponent: int) -> NDArray[np.float64]:
    return np.ldexp(np.array(product).astype(np.float64), exponent)
