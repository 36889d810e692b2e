"""The errors of rounding a matrix to 4 or 8 bits, without keeping the rounded copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.dtypes import decode
from mlx_probe.core.records import QuantizationError

if TYPE_CHECKING:
    from mlx_probe.compute.backends.chunk import Chunk
    from mlx_probe.compute.backends.numpy.native import NativeChunk

__all__ = [
    "GROUP_SIZE",
    "QUANTIZED_BITS",
    "ErrorSums",
    "QuantizationSums",
    "affine_grid",
    "affine_round",
    "to_grid",
    "to_grid_in_place",
]

GROUP_SIZE = 64
QUANTIZED_BITS = (4, 8)

# Elements whose squared errors are summed at a time, and of these as many as are rounded at a time:
# their temporary arrays stay in the cache.
BLOCK_ELEMENTS, _STRIP_ELEMENTS = 1 << 18, 1 << 17


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
        # Made by the first slab: the first use of new memory costs more than the work on it.
        self._errors = np.empty(0)

    def add(self, chunk: Chunk | NativeChunk) -> None:
        """Round one slab, some rows at a time, and add up the errors."""
        rows, cols = chunk.stored.shape
        row_max, col_max = np.zeros(rows), np.zeros(cols)
        squared = dict.fromkeys(self._sums.bits, 0.0)
        height, strip = max(1, BLOCK_ELEMENTS // cols), max(1, _STRIP_ELEMENTS // cols)
        for start in range(0, rows, height):
            block = chunk.stored[start : start + height]
            if len(self._errors) < len(squared) * block.size:
                self._errors = np.empty(len(squared) * block.size)
            # The squares of a bit width lie side by side: their sum is one call of BLAS.
            errors = self._errors[: len(squared) * block.size].reshape(len(squared), *block.shape)
            for top in range(0, len(block), strip):
                lines = slice(top, min(top + strip, len(block)))
                with np.errstate(over="ignore", invalid="ignore"):
                    values = decode(block[lines], chunk.dtype)
                    # Float64 files beyond float32's range give NaN: none such can be quantized.
                    x = np.ascontiguousarray(values, np.float32)
                    magnitude = np.abs(values if values.dtype == np.float64 else x)
                    row_max[start + top : start + lines.stop] = magnitude.max(axis=1)
                    np.maximum(col_max, magnitude.max(axis=0), out=col_max)
                    self._round(values, x, errors[:, lines])
            for bits, error in zip(squared, errors.reshape(len(squared), block.size), strict=True):
                squared[bits] += float(np.dot(error, error))
        self._sums.add_slab(row_max, col_max, squared)

    def _round(
        self, values: NDArray[Any], x: NDArray[np.float32], errors: NDArray[np.float64]
    ) -> None:
        """Fill in the errors of some rows, shape (bit widths, rows, cols)."""
        if not len(errors):
            return
        groups = x.reshape(-1, GROUP_SIZE)
        starts = np.arange(0, x.size, GROUP_SIZE)
        # Three times as fast as a minimum along an axis of 64.
        low, high = (
            extreme.reduceat(x.reshape(-1), starts)[:, None] for extreme in (np.minimum, np.maximum)
        )
        rounded = np.empty_like(groups)
        for bits, out in zip(self._sums.bits, errors, strict=True):
            scale, bias = affine_grid(np, low, high, bits, self._keep)
            to_grid_in_place(groups, scale, bias, bits, rounded)
            if values.dtype == np.float64:
                # What float32 lost of a float64 element is a part of the error, too.
                np.subtract(values, rounded.reshape(x.shape), out=out)
            else:
                np.copyto(out, np.subtract(groups, rounded, out=rounded).reshape(x.shape))

    def finish(self) -> QuantizationError:
        """The errors over everything added."""
        return self._sums.finish()


def affine_round(xp: Any, x: Any, bits: int, keep: Callable[[Any], Any] | None) -> Any:
    """Round to the grid of MLX's affine quantization, groups of `GROUP_SIZE`.

    Args:
        xp: Array namespace, ``numpy`` or ``mlx.core``.
        x: float32 values, shape (rows, cols), cols a multiple of `GROUP_SIZE`.
        bits: Width of the codes.
        keep: Rounds scale and bias to the type they are stored in; None for float32.

    Returns:
        The rounded values, float32, same shape.
    """
    groups = x.reshape(-1, GROUP_SIZE)
    low, high = groups.min(axis=-1, keepdims=True), groups.max(axis=-1, keepdims=True)
    return to_grid(xp, groups, *affine_grid(xp, low, high, bits, keep), bits).reshape(x.shape)


def to_grid(xp: Any, groups: Any, scale: Any, bias: Any, bits: int) -> Any:
    """Elements of groups rounded to the grid of each group.

    Args:
        xp: Array namespace, ``numpy`` or ``mlx.core``.
        groups: float32, shape (groups, elements of a group).
        scale: As `affine_grid` gives it, shape (groups, 1).
        bias: The same.
        bits: Width of the codes.
    """
    codes = xp.round((groups - bias) / _divisor(xp, scale))
    return xp.clip(codes, 0.0, _levels(bits)) * scale + bias


def affine_grid(
    xp: Any, low: Any, high: Any, bits: int, keep: Callable[[Any], Any] | None
) -> tuple[Any, Any]:
    """Scale and bias of groups: element = code * scale + bias, codes from 0 to ``2**bits - 1``.

    Every group gets ``2**bits`` evenly spaced levels from its end of larger magnitude; the
    scale is then adjusted so that zero is a level. Source: the definition of
    ``mlx.core.quantize`` (mode "affine").

    Args:
        xp: Array namespace, ``numpy`` or ``mlx.core``.
        low: The least element of each group, float32, any shape.
        high: The largest, same shape.
        bits: Width of the codes.
        keep: Rounds scale and bias to the type they are stored in; None for float32.

    Returns:
        Scales and biases, float32, same shape.
    """
    low_is_edge = xp.abs(low) > xp.abs(high)
    edge = xp.where(low_is_edge, low, high)
    # 1e-7 is MLX's floor; a group of zeros keeps it and rounds to zeros.
    scale = xp.maximum((high - low) / _levels(bits), 1e-7)
    scale = xp.where(low_is_edge, scale, -scale)
    steps = xp.round(edge / scale)
    at_zero = steps == 0
    bias = xp.where(at_zero, xp.zeros_like(edge), edge)
    scale = xp.where(at_zero, scale, edge / xp.where(at_zero, xp.ones_like(steps), steps))
    return (scale, bias) if keep is None else (keep(scale), keep(bias))


def _levels(bits: int) -> float:
    return float(2**bits - 1)


def _divisor(xp: Any, scale: Any) -> Any:
    """The scale; 1 where it underflowed in its storage type, which leaves only the bias."""
    return xp.where(scale == 0, xp.ones_like(scale), scale)


def to_grid_in_place(
    groups: NDArray[np.float32],
    scale: NDArray[np.float32],
    bias: NDArray[np.float32],
    bits: int,
    out: NDArray[np.float32],
) -> None:
    """The steps of `to_grid` in one buffer, which stays in the cache.

    Args:
        groups: See `to_grid`.
        scale: The same.
        bias: The same.
        bits: The same.
        out: Takes the rounded elements; of the shape of ``groups``.
    """
    np.subtract(groups, bias, out=out)
    np.divide(out, _divisor(np, scale), out=out)
    np.rint(out, out=out)
    np.clip(out, 0.0, _levels(bits), out=out)
    np.multiply(out, scale, out=out)
    np.add(out, bias, out=out)


def _round_to_float16(x: NDArray[np.float32]) -> NDArray[np.float32]:
    rounded: NDArray[np.float32] = x.astype(np.float16).astype(np.float32)
    return rounded


def _round_to_bfloat16(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to nearest, ties to even, on the upper half of the word."""
    bits = x.view(np.uint32)
    bits = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    rounded: NDArray[np.float32] = bits.view(np.float32)
    return rounded
