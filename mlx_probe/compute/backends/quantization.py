"""The errors of rounding a matrix to 4 or 8 bits, without keeping the rounded copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.core.records import QuantizationError

__all__ = ["GROUP_SIZE", "QUANTIZED_BITS", "ErrorSums", "QuantizationSums", "affine_round"]

GROUP_SIZE = 64
QUANTIZED_BITS = (4, 8)

# Elements that are rounded at a time: all temporary arrays stay in the cache.
BLOCK_ELEMENTS = 1 << 18


class ErrorSums:
    """Running squared errors and channel maxima of a matrix, fed slab by slab."""

    def __init__(self, rows: int, cols: int, bits: Sequence[int]) -> None:
        self._tall = rows >= cols
        self._next = 0
        self._squared = dict.fromkeys(bits, 0.0)
        self._row_max = np.zeros(rows)
        self._col_max = np.zeros(cols)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bit widths to round to."""
        return tuple(self._squared)

    def add_slab(
        self, row_max: NDArray[Any], col_max: NDArray[Any], squared: dict[int, float]
    ) -> None:
        """Take in the maxima and squared errors of the next slab along the long side."""
        start = self._next
        whole, part = self._col_max, self._row_max
        slab_whole, slab_part = col_max, row_max
        if not self._tall:
            whole, part = part, whole
            slab_whole, slab_part = row_max, col_max
        np.maximum(whole, slab_whole, out=whole)
        part[start : start + len(slab_part)] = slab_part
        self._next = start + len(slab_part)
        for bits, error in squared.items():
            self._squared[bits] += error

    def finish(self) -> QuantizationError:
        """The errors over everything added."""
        return QuantizationError(dict(self._squared), self._row_max, self._col_max)


class QuantizationSums:
    """Affine rounding errors in numpy."""

    def __init__(self, rows: int, cols: int, dtype: str, bits: Sequence[int]) -> None:
        self._sums = ErrorSums(rows, cols, bits)
        self._keep = {"BF16": _round_to_bfloat16, "F16": _round_to_float16}.get(dtype)

    def add(self, chunk: Chunk) -> None:
        """Round one slab, some rows at a time, and add up the errors."""
        rows, cols = chunk.stored.shape
        row_max, col_max = np.zeros(rows), np.zeros(cols)
        squared = dict.fromkeys(self._sums.bits, 0.0)
        height, wide = max(1, BLOCK_ELEMENTS // cols), chunk.dtype == "F64"
        for start in range(0, rows, height):
            values = Chunk(chunk.stored[start : start + height], chunk.dtype).values
            magnitude = np.abs(values)
            row_max[start : start + height] = magnitude.max(axis=1)
            np.maximum(col_max, magnitude.max(axis=0), out=col_max)
            # Float64 files beyond float32's range give NaN: no such weight can be quantized.
            with np.errstate(over="ignore", invalid="ignore"):
                x = values.astype(np.float32)
                for bits in self._sums.bits:
                    rounded = affine_round(np, x, bits, self._keep)
                    # What float32 lost of a float64 element is a part of the error, too.
                    error = ((values if wide else x) - rounded).ravel().astype(np.float64)
                    squared[bits] += float(np.dot(error, error))
        self._sums.add_slab(row_max, col_max, squared)

    def finish(self) -> QuantizationError:
        """The errors over everything added."""
        return self._sums.finish()


def affine_round(xp: Any, x: Any, bits: int, keep: Callable[[Any], Any] | None) -> Any:
    """Round to the grid of MLX's affine quantization, groups of `GROUP_SIZE`.

    Every group gets ``2**bits`` evenly spaced levels from its end of larger magnitude; the
    scale is then adjusted so that zero is a level. Source: the definition of
    ``mlx.core.quantize`` (mode "affine").

    Args:
        xp: Array namespace, ``numpy`` or ``mlx.core``.
        x: float32 values, shape (rows, cols), cols a multiple of `GROUP_SIZE`.
        bits: 4 or 8.
        keep: Rounds scale and bias to the type they are stored in; None for float32.

    Returns:
        The rounded values, float32, same shape.
    """
    groups = x.reshape(x.shape[0], -1, GROUP_SIZE)
    levels = float(2**bits - 1)
    low, high = groups.min(axis=-1, keepdims=True), groups.max(axis=-1, keepdims=True)
    low_is_edge = xp.abs(low) > xp.abs(high)
    edge = xp.where(low_is_edge, low, high)
    # 1e-7 is MLX's floor; a group of zeros keeps it and rounds to zeros.
    scale = xp.maximum((high - low) / levels, 1e-7)
    scale = xp.where(low_is_edge, scale, -scale)
    steps = xp.round(edge / scale)
    at_zero = steps == 0
    bias = xp.where(at_zero, xp.zeros_like(edge), edge)
    scale = xp.where(at_zero, scale, edge / xp.where(at_zero, xp.ones_like(steps), steps))
    if keep is not None:
        scale, bias = keep(scale), keep(bias)
    # A scale that underflowed in its storage type leaves only the bias.
    codes = xp.round((groups - bias) / xp.where(scale == 0, xp.ones_like(scale), scale))
    return (xp.clip(codes, 0.0, levels) * scale + bias).reshape(x.shape)


def _round_to_float16(x: NDArray[np.float32]) -> NDArray[np.float32]:
    rounded: NDArray[np.float32] = x.astype(np.float16).astype(np.float32)
    return rounded


def _round_to_bfloat16(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to nearest, ties to even, on the upper half of the word."""
    bits = x.view(np.uint32)
    bits = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    rounded: NDArray[np.float32] = bits.view(np.float32)
    return rounded
