"""Codes of numbers that the file itself lists: bitsandbytes' NF4 and FP4."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.mlx.decoding.words import Groups, loaded, too_small
from mlx_probe.core.encoding import Encoded

__all__ = ["decode"]


def decode(block: Encoded, flushes: bool) -> mx.array | None:
    """Kind "table"; see `Encoding`."""
    form, cols = block.encoding, block.cols
    codes, _, numbers, *_ = block.words
    groups = Groups.of_columns(cols, form.group)
    scales = _scales(block, groups)
    if flushes and too_small(scales, numbers):
        return None
    lines = codes.reshape(-1).view(np.uint8)[: form.width // 2 * _height(block)]
    stored = lines.reshape(-1, form.width // 2)[block.rows, cols.start // 2 : -(-cols.stop // 2)]
    pairs = loaded(stored)[..., None] >> mx.array([4, 0], mx.uint8)
    values = mx.array(numbers)[(pairs & 15).reshape(len(stored), -1)]
    return groups.apply(mx.multiply, values, mx.array(scales))


def _height(block: Encoded) -> int:
    """Rows of the whole matrix."""
    return block.words[1].size * block.encoding.group // block.encoding.width


def _scales(block: Encoded, groups: Groups) -> NDArray[np.float32]:
    """Scales by row and group."""
    form, stored = block.encoding, block.words[1]
    scales = stored.reshape(_height(block), -1)[block.rows, groups.span]
    if not form.nested:
        return scales
    outer, numbers = block.words[3:]
    across = form.width // form.group
    first = np.arange(block.rows.start, block.rows.stop)[:, None] * across
    places = (first + np.arange(groups.span.start, groups.span.stop)) // form.nested
    with np.errstate(over="ignore", invalid="ignore"):
        values: NDArray[np.float32] = np.take(numbers, scales)
        values *= outer.reshape(-1)[places]
        values += np.float32(form.offset)
    return values
