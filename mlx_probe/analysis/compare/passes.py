"""The passes over a pair's chunks, in a backend's lane and in the account of stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import BoundedSemaphore

import numpy as np

from mlx_probe.analysis.compare.rounding import RoundingEdge
from mlx_probe.analysis.compare.source import PairChunk, Replay
from mlx_probe.analysis.compare.subspaces import Floats, Leading, cross_flops
from mlx_probe.compute import lapack
from mlx_probe.compute.backends import Gram
from mlx_probe.compute.backends.change import ChangeSums
from mlx_probe.compute.backends.numpy.pairs import HostPairGrams, line_blocks
from mlx_probe.compute.backends.protocol import ElementPass, PairGrams
from mlx_probe.compute.spectrum import MatrixReader, gram_flops
from mlx_probe.core.records import Moments
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["PairPasses"]


class PairPasses:
    """Sends pairs through passes of their backend.

    Args:
        meter: Counts what each stage takes.
        lane: Weights whose elements may be worked on at once.
    """

    def __init__(self, meter: UsageMeter, lane: BoundedSemaphore) -> None:
        self._meter, self._lane = meter, lane

    def change(self, both: Replay) -> ChangeSums:
        """Sums over the elements of both."""
        source = both.source
        sums = source.backend.change_pass(*source.dtypes)
        with self._lane:
            for chunk in both:
                with self._meter.stage("change", chunk.nbytes):
                    sums.add(chunk.a, chunk.b)
            return sums.finish()

    def grams(
        self, both: Replay, difference: bool, sides: bool, beside: ElementPass | None
    ) -> PairGrams:
        """Gram matrices of the difference, and of both sides, as asked for.

        Args:
            both: The pair.
            difference: Whether to make that of B - A.
            sides: Whether to make those of A and B.
            beside: A pass that takes B in the same reading.
        """
        source = both.source
        rows, cols = source.extents
        making = source.backend.pair_gram_pass(rows, cols, source.dtypes, difference, sides)
        count = difference + 2 * sides
        with self._lane:
            for chunk in both:
                with self._meter.stage("gram", chunk.nbytes) as multiplying:
                    making.add(chunk.a, chunk.b)
                    multiplying.flops = count * gram_flops(chunk.size, min(rows, cols))
                    # On the CPU no other worker can use these cores.
                    multiplying.cores = 1 if source.backend.lanes else lapack.width()
                self._add(beside, chunk)
        # Outside the lane: here a device finishes what it has queued.
        with self._meter.stage("gram"):
            return making.finish()

    def elements(self, both: Replay, elements: ElementPass | None) -> None:
        """Send B through a pass."""
        if elements is not None:
            with self._lane:
                for chunk in both:
                    self._add(elements, chunk)

    def _add(self, elements: ElementPass | None, chunk: PairChunk) -> None:
        if elements is not None:
            with self._meter.stage("change", chunk.nbytes):
                elements.add(chunk.b)

    def gram_batch(self, pairs: Sequence[Replay], sides: bool) -> list[PairGrams]:
        """The same of equal small matrices, all of them at once."""
        source = pairs[0].source
        rows, cols = source.extents
        count = (1 + 2 * sides) * len(pairs)
        flops = count * gram_flops(rows * cols, min(rows, cols))
        with self._lane, self._meter.stage("gram", flops=flops):
            chunks = [next(iter(both)) for both in pairs]
            loaded = [(chunk.a, chunk.b) for chunk in chunks]
            return source.backend.pair_gram_batch(loaded, rows, cols, source.dtypes, sides)

    def along(
        self, both: Replay, leading: Leading | None, rounding: RoundingEdge | None
    ) -> Floats | None:
        """What the lines of both are needed for once more, in float64 on the host.

        Products in float32 would lose directions whose singular value is far below the largest.

        Args:
            both: The pair.
            leading: Leading directions of B; None for no product.
            rounding: Is fed with B; None for nothing.

        Returns:
            A.T B V_B; see `compare_subspaces`.
        """
        if leading is None and rounding is None:
            return None
        rows, cols = both.source.extents
        cross = None if leading is None else np.zeros((min(rows, cols), len(leading.sigma)))
        for chunk in both.on_host():
            if rounding is not None:
                with self._meter.stage("change", chunk.nbytes):
                    rounding.add(chunk.b)
            if leading is not None and cross is not None:
                flops = cross_flops(chunk.size, len(leading.sigma))
                with self._meter.stage("vectors", flops=flops):
                    for x, y in _lines(chunk, rows >= cols):
                        cross += x.T @ (y @ leading.vectors)
        return cross

    def reader(self, both: Replay, moments: Moments) -> MatrixReader:
        """Reads the difference again, for methods that need more than its Gram matrix."""
        rows, cols = both.source.extents

        def lines() -> Iterator[Floats]:
            for chunk in both.on_host():
                for x, y in _lines(chunk, rows >= cols):
                    yield y - x

        def slabs() -> Iterator[Floats]:
            return (x if rows >= cols else x.T for x in lines())

        def precise() -> Gram:
            making = HostPairGrams(rows, cols, difference=True, sides=False)
            for chunk in both.on_host():
                with self._meter.stage("gram"):
                    making.add(chunk.a, chunk.b)
            gram = making.finish().difference
            assert gram is not None
            return gram

        return MatrixReader(rows, cols, "F64", moments, slabs, precise)


def _lines(chunk: PairChunk, tall: bool) -> Iterator[tuple[Floats, Floats]]:
    """Blocks of A and of B, in float64, with lines along the long side."""
    return zip(line_blocks(chunk.a, tall), line_blocks(chunk.b, tall), strict=True)
