"""Small floats and bytes with the scale of their block: MX and NV formats, FP8, int8."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.mlx.decoding.words import (
    Groups,
    row_bytes,
    too_small,
    unpacked,
)
from mlx_probe.core.dtypes import E2M1, as_float32, float8_e4m3_values
from mlx_probe.core.encoding import Encoded

__all__ = ["block_factors", "decode", "float8"]


def decode(block: Encoded, flushes: bool) -> mx.array | None:
    """Kind "scaled"; see `Encoding`."""
    form, cols = block.encoding, block.cols
    groups = Groups.of_columns(cols, form.group)
    factors = block_factors(block, groups)
    if form.factor:
        whole = as_float32(block.words[2], block.dtypes[2]).reshape(())
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            factors = factors / whole if form.factor == "divides" else factors * whole
    if flushes and too_small(factors):
        return None
    data = row_bytes(block.words[0], block.rows, cols.start * form.bits, cols.stop * form.bits)
    return groups.apply(mx.multiply, _elements(data, form.dtype), mx.array(factors))


def block_factors(block: Encoded, groups: Groups) -> NDArray[np.float32]:
    """Scales of the second piece by row and group, for blocks of lines x columns.

    Returns:
        Shape (rows, groups in `Groups.span`); one row if all rows share their scales.
    """
    form, height = block.encoding, len(block.words[0])
    down = np.arange(block.rows.start, block.rows.stop) // form.lines
    grid = block.words[1].reshape(-(-height // form.lines), -1)
    lines = slice(0, 1) if len(grid) == 1 else down
    return as_float32(grid[lines, groups.span], form.scale)


def float8(data: mx.array, dtype: str) -> mx.array:
    """Float32 values of bytes that are 8-bit floats, exactly."""
    if dtype == "F8_E4M3":
        # By a table: a conversion by way of float16 would depend on the device's subnormals.
        return mx.array(float8_e4m3_values())[data]
    # E5M2 is the upper byte of float16.
    return (data.astype(mx.uint16) << 8).view(mx.float16).astype(mx.float32)


def _elements(data: mx.array, dtype: str) -> mx.array:
    if dtype == "E2M1":
        return mx.array(E2M1)[unpacked(data, 4)]
    if dtype == "I8":
        return data.view(mx.int8).astype(mx.float32)
    return float8(data, dtype)
