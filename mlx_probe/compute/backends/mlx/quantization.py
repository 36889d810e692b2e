"""Errors of affine rounding on a device without float64."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from mlx_probe.compute.backends.mlx.chunk import DeviceChunk
from mlx_probe.compute.backends.mlx.digits import scaled
from mlx_probe.compute.backends.mlx.sums import partial_sums, total
from mlx_probe.compute.backends.quantization import GROUP_SIZE, ErrorSums, affine_grid, to_grid
from mlx_probe.core.records import QuantizationError

__all__ = ["DeviceQuantizationPass"]


class DeviceQuantizationPass:
    """Affine rounding errors on the device."""

    def __init__(self, rows: int, cols: int, dtype: str, bits: Sequence[int]) -> None:
        self._sums = ErrorSums(rows, cols, bits)
        kept = {"BF16": mx.bfloat16, "F16": mx.float16}.get(dtype)
        self._keep = None if kept is None else lambda x: x.astype(kept).astype(mx.float32)

    def add(self, chunk: DeviceChunk) -> None:
        """Round one slab and add up the errors; the host waits twice."""
        x = chunk.values
        errors = self._errors(x) if self._sums.bits else {}
        magnitude = mx.abs(x)
        maxima = [magnitude.max(axis=1), magnitude.max(axis=0)]
        largest = {bits: mx.abs(error).max() for bits, error in errors.items()}
        mx.eval(errors, maxima, largest)
        # Scaled by a power of two, so that float32 squares neither overflow nor underflow.
        exponent = {bits: int(np.frexp(each.item())[1]) for bits, each in largest.items()}
        squares = {
            bits: partial_sums(mx.square(scaled(error, -exponent[bits])))
            for bits, error in errors.items()
        }
        mx.eval(squares)
        squared = {
            bits: float(np.ldexp(total(parts), 2 * exponent[bits]))
            for bits, parts in squares.items()
        }
        self._sums.add_slab(np.array(maxima[0]), np.array(maxima[1]), squared)

    def _errors(self, x: mx.array) -> dict[int, mx.array]:
        """Elements minus rounded ones, shape (n,), for each bit width."""
        groups = x.reshape(-1, GROUP_SIZE)
        low, high = groups.min(axis=-1, keepdims=True), groups.max(axis=-1, keepdims=True)
        grids = {bits: affine_grid(mx, low, high, bits, self._keep) for bits in self._sums.bits}
        return {
            bits: (groups - to_grid(mx, groups, *grid, bits)).reshape(-1)
            for bits, grid in grids.items()
        }

    def finish(self) -> QuantizationError:
        """The errors over everything added."""
        return self._sums.finish()
