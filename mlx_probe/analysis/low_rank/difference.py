"""B - A of one pair, read block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mlx_probe.analysis.compare.adapted import adapted_reader
from mlx_probe.analysis.compare.blocks import Floats, WeightReader, block_height
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.checkpoint import Weight, chunk_extent
from mlx_probe.checkpoint.adapters.protocol import Product
from mlx_probe.checkpoint.parameter import PLAIN
from mlx_probe.core.dtypes import FLOAT_FORMATS, FloatFormat
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["Difference", "difference_bytes"]

# Exponent bits of float64: what is left of a number is the power of two below it.
_EXPONENT = np.uint64(0x7FF0_0000_0000_0000)


@dataclass
class Difference:
    """B - A of two matrices, or what an adapter adds to one.

    A matrix that is one chunk stays in memory once it is read.

    Attributes:
        pair: The pair; without a status.
        meter: Counts what is read; its gate is passed before every chunk.
        base: Sum of squares of A, known after the first reading.
        rounding: Sum of squares that rounding B to the type that it is stored in leaves, to
            expect; 0 where B is packed or an adapter. Known likewise.
    """

    pair: Pair
    meter: UsageMeter
    base: float = 0.0
    rounding: float = 0.0
    _kept: list[Floats] | None = field(default=None, repr=False)

    @property
    def tall(self) -> bool:
        """Whether lines are rows: columns otherwise."""
        return self.pair.weight.tall

    def lines(self) -> Iterator[Floats]:
        """Blocks of the difference in float64, lines along the long side.

        Raises:
            CheckpointError: A file is closed, gone or changed.
            PackingError: Pieces of a packed weight contradict each other.
            Stopped: The gate is closed for good.
        """
        if self._kept is not None:
            yield from self._kept
            return
        weight, base = self.pair.weight, 0.0
        kept: list[Floats] | None = [] if weight.long <= chunk_extent(weight.short) else None
        for a, change in self._both():
            base += float(np.vdot(a, a))
            if kept is not None:
                kept.append(change)
            yield change
        self.base = base
        self._kept = kept

    def _both(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A and of the difference."""
        pair = self.pair
        assert pair.a is not None
        if pair.adaption is not None:
            adapted = adapted_reader(pair, self.meter)
            if isinstance(adapted.edit, Product) and pair.adaption.is_product:
                yield from adapted.differences()
            else:
                yield from ((a, b - a) for a, b in adapted.blocks())
            return
        assert pair.b is not None
        a = WeightReader(pair.a, pair.interleaved_a, self.meter)
        b = WeightReader(pair.b, pair.interleaved_b, self.meter)
        form, rounding = _format_of(pair.b), 0.0
        for x, y in zip(a.lines(), b.lines(), strict=True):
            if form is not None:
                rounding += _rounding(y, form)
            yield x, y - x
        self.rounding = rounding


def _format_of(weight: Weight) -> FloatFormat | None:
    """The format that the values were rounded to; None where packing did more than round."""
    return FLOAT_FORMATS.get(weight.dtype) if weight.parameter.packing == PLAIN else None


def _rounding(y: Floats, form: FloatFormat) -> float:
    """Sum of ulp^2 / 12: the variance of rounding to nearest, see `RoundingEdge`."""
    powers = (np.ascontiguousarray(y).view(np.uint64) & _EXPONENT).view(np.float64)
    np.maximum(powers, math.ldexp(1.0, form.min_exponent), out=powers, where=powers > 0)
    return float(np.vdot(powers, powers)) * math.ldexp(1.0, 2 - 2 * form.precision) / 12


def difference_bytes(pair: Pair) -> int:
    """Bytes that reading a difference takes at most.

    Args:
        pair: The pair; without a status.
    """
    weight = pair.weight
    slab = weight.short * min(weight.long, chunk_extent(weight.short))
    block = min(slab, weight.short * block_height(weight))
    sides = [side for side in (pair.a, pair.b) if side is not None and pair.adaption is None]
    stored = sum(side.resident_bytes + 8 * slab for side in sides or [weight])
    kept = 8 * weight.numel if weight.long <= chunk_extent(weight.short) else 0
    own = pair.adaption.nbytes(weight) if pair.adaption is not None else 0
    return stored + kept + own + 4 * 8 * block
