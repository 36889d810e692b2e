"""Two matrices of one shape side by side, on a device without float64.

A difference of two float32 numbers is exact where they are within a factor of two of each other
(Sterbenz); elsewhere it is rounded, and what the rounding left out is computed exactly (Knuth's
TwoSum) and enters the bound of the Gram matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_probe.compute.backends.change import ChangeSums
from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.compute.backends.mlx.chunk import DeviceChunk
from mlx_probe.compute.backends.mlx.digits import scaled
from mlx_probe.compute.backends.mlx.sums import partial_sums, total
from mlx_probe.compute.backends.numpy.pairs import HostChange
from mlx_probe.compute.backends.protocol import (
    Gram,
    GramPass,
    PairGrams,
)

__all__ = ["DeviceChange", "DevicePairGrams", "OnHost", "host_chunk", "subtracted"]

# Bits of float32's largest exponent field that is near underflow: elements below 2**-63, whose
# differences and squares a GPU may flush to zero.
_TINY = 64 << 23

# Differences up to this share of A's sum of squares are small: nearly all of them are exact.
_SMALL = 1 / 16


class DeviceChange:
    """Sums over two tensors' elements: short float32 sums on the device, combined in float64."""

    def __init__(self) -> None:
        self._sums = ChangeSums()

    def add(self, a: DeviceChunk, b: DeviceChunk) -> None:
        """Take in two chunks; the host waits twice: for what they are like, and for the sums."""
        x, y = a.values.reshape(-1), b.values.reshape(-1)
        difference = y - x
        words = [each.view(mx.uint32) for each in (x, y)]
        magnitudes = [each & 0x7FFFFFFF for each in words]
        # By bits: a GPU may take subnormals for zeros. Zeros of either sign are equal.
        changed = (words[0] != words[1]) & ((magnitudes[0] | magnitudes[1]) != 0)
        counted = [
            *(each >= 0x7F800000 for each in magnitudes),
            *(each != 0 for each in magnitudes),
            *((each != 0) & (each < _TINY) for each in magnitudes),
            changed,
        ]
        counts = mx.stack([each.sum() for each in counted])
        extremes = mx.stack([mx.abs(each).max() for each in (x, y, difference)])
        mx.eval(counts, extremes)
        bad_a, bad_b, any_a, any_b, tiny_a, tiny_b, moved = map(int, np.array(counts))
        if bad_a or bad_b:
            self._sums.add_nonfinite(x.size, bad_a, bad_b)
            return
        largest = [float(each) for each in np.array(extremes)]
        if tiny_a or tiny_b or not np.isfinite(largest[2]):
            self._add_on_host(x, y)
            return
        if not moved:
            self._sums.add_equal(x.size, _energy(x, largest[0]), any_a > 0)
            return
        energies = _energy(x, largest[0]), _energy(y, largest[1])
        far = _energy(difference, largest[2])
        if far <= _SMALL * energies[0]:
            # Consistent with the difference: the cosine of nearly equal tensors is as exact.
            dot = (sum(energies) - far) / 2
        else:
            dot = _dot(x, y, largest[0], largest[1])
        any_element = any_a > 0, any_b > 0
        self._sums.add(x.size, energies, dot, far, largest[2], moved, any_element)

    def _add_on_host(self, x: mx.array, y: mx.array) -> None:
        host = HostChange()
        host.add(*(Chunk(np.array(each), "F32") for each in (x, y)))
        sums = host.finish()
        self._sums.add(
            sums.count,
            (sums.a, sums.b),
            sums.dot,
            sums.difference,
            sums.largest,
            sums.changed,
            (sums.any_a, sums.any_b),
        )

    def finish(self) -> ChangeSums:
        """The sums over everything added."""
        return self._sums


class DevicePairGrams:
    """Gram matrices of two matrices and of their difference.

    Args:
        difference: The pass of B - A, float32; None for none.
        sides: Those of A and of B; or none.
    """

    def __init__(self, difference: GramPass | None, sides: Sequence[GramPass]) -> None:
        self._difference, self._sides = difference, sides
        self._left_out = 0.0

    def add(self, a: DeviceChunk, b: DeviceChunk) -> None:
        """Take in two slabs with the same lines."""
        if self._difference is not None:
            chunk, left_out = subtracted(a, b)
            self._left_out += left_out
            self._difference.add(chunk)
        for each, side in zip(self._sides, (a, b), strict=False):
            each.add(side)

    def finish(self) -> PairGrams:
        """The Gram matrices, and bounds of what rounding and digits left out."""
        difference = None
        if self._difference is not None:
            gram = self._difference.finish()
            difference = replace(gram, omitted=gram.omitted + float(np.sqrt(self._left_out)))
        sides: list[Gram | None] = [each.finish() for each in self._sides] or [None, None]
        return PairGrams(difference, *sides)


class OnHost:
    """A pass of the host that is fed with chunks of either kind.

    Args:
        host: The pass.
    """

    def __init__(self, host: Any) -> None:
        self._host = host
        self.finish: Callable[[], Any] = host.finish

    def add(self, a: DeviceChunk | Chunk, b: DeviceChunk | Chunk) -> None:
        """Take in two chunks."""
        self._host.add(host_chunk(a), host_chunk(b))


def host_chunk(chunk: DeviceChunk | Chunk) -> Chunk:
    """A chunk in the host's memory."""
    if isinstance(chunk, Chunk):
        return chunk
    return Chunk(np.array(chunk.values), "F32")


def subtracted(a: DeviceChunk, b: DeviceChunk) -> tuple[DeviceChunk, float]:
    """B - A rounded to float32, and the sum of squares of what the rounding left out."""
    x, y = a.values, b.values
    difference = y - x
    # Knuth 1997, "The Art of Computer Programming", volume 2, 4.2.2, theorem B, for y + (-x).
    without = difference - y
    rest = (y - (difference - without)) - (x + without)
    extremes = mx.stack([mx.abs(difference).max(), mx.abs(rest).max()])
    mx.eval(difference, extremes)
    largest, most = (float(each) for each in np.array(extremes))
    if not np.isfinite(largest):
        # Beyond float32: nothing is known of it, and float64 decides.
        return DeviceChunk(mx.zeros_like(x), mx.zeros_like(x)), float("inf")
    left_out = _energy(rest.reshape(-1), most) if most > 0 else 0.0
    return DeviceChunk(difference, difference), left_out


def batched_grams(
    make: Callable[[Sequence[DeviceChunk], int, int, str], list[Gram]],
    pairs: Sequence[tuple[Any, Any]],
    rows: int,
    cols: int,
    dtypes: tuple[str, str],
    sides: bool,
) -> list[PairGrams]:
    """What `DevicePairGrams` makes of each of several pairs, in one batch of products.

    Args:
        make: `gram_batch` of the backend.
        pairs: A chunk of A and one of B each.
        rows: Rows of every matrix.
        cols: Columns of every matrix.
        dtypes: Types of A and of B.
        sides: Whether to make the Gram matrices of A and of B.
    """
    chunks, left_out = zip(*(subtracted(a, b) for a, b in pairs), strict=True)
    differences = [
        replace(gram, omitted=gram.omitted + float(np.sqrt(left)))
        for gram, left in zip(make(chunks, rows, cols, "F32"), left_out, strict=True)
    ]
    if not sides:
        return [PairGrams(gram, None, None) for gram in differences]
    others = [
        make([pair[side] for pair in pairs], rows, cols, dtype) for side, dtype in enumerate(dtypes)
    ]
    return [PairGrams(*grams) for grams in zip(differences, *others, strict=True)]


def _energy(x: mx.array, largest: float) -> float:
    """Sum of squares of elements, none larger than ``largest``."""
    exponent = int(np.frexp(largest)[1])
    coarse, rest = _split(scaled(x, -exponent))
    # Squares of 9 bits: sums of 64 are exact. The others are small.
    parts = [partial_sums(mx.square(coarse)), partial_sums(rest * (2 * coarse + rest))]
    mx.eval(parts)
    return float(np.ldexp(total(parts[0]) + total(parts[1]), 2 * exponent))


def _dot(x: mx.array, y: mx.array, largest_x: float, largest_y: float) -> float:
    """Sum of products of elements, computed in the same way."""
    exponents = [int(np.frexp(largest)[1]) for largest in (largest_x, largest_y)]
    x, y = (scaled(each, -exponent) for each, exponent in zip((x, y), exponents, strict=True))
    (coarse_x, rest_x), (coarse_y, rest_y) = _split(x), _split(y)
    parts = [partial_sums(coarse_x * coarse_y), partial_sums(coarse_x * rest_y + rest_x * y)]
    mx.eval(parts)
    return float(np.ldexp(total(parts[0]) + total(parts[1]), sum(exponents)))


def _split(x: mx.array) -> tuple[mx.array, mx.array]:
    """Elements in (-1, 1) as multiples of 2**-9, and the rest."""
    coarse = mx.round(x * 512.0) * (1 / 512.0)
    return coarse, x - coarse
