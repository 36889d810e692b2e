"""Weights read side by side: in chunks of a backend, or in float64 blocks of lines.

A block has the shape (k, M), M = min(rows, cols): its lines are the rows of a tall or square
matrix, the columns of a wide one. A vector comes in blocks of shape (k,).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint import Weight
from mlx_probe.compute.backends.chunk import BLOCK_ELEMENTS, BLOCK_LINES
from mlx_probe.core.dtypes import decode
from mlx_probe.runs.monitor import READ, UsageMeter

__all__ = ["Floats", "PairReader", "WeightReader", "block_height", "whole"]

Floats = NDArray[np.float64]


class PairReader(Protocol):
    """Reads two tensors of one shape side by side, as often as needed."""

    def blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A and of B with the same lines, in order."""


@dataclass(frozen=True)
class WeightReader:
    """Reads a weight in blocks.

    Attributes:
        weight: The weight.
        interleaved: Rows of an attention head whose two rotary halves are stored interleaved;
            blocks have one half after the other. 0 for rows as stored. See `interleaved_rows`.
        meter: Counts what is read; its gate is passed before every chunk.
    """

    weight: Weight
    interleaved: int
    meter: UsageMeter

    def lines(self) -> Iterator[Floats]:
        """Blocks of the elements.

        Raises:
            CheckpointError: The file is closed, gone or changed.
            PackingError: Pieces of a packed weight contradict each other.
            Stopped: The gate is closed for good.
        """
        weight = self.weight
        height = block_height(weight)
        for stored in self.chunks():
            words = self.in_halves(stored) if self.interleaved else stored
            lines = words if weight.tall else words.T
            for first in range(0, len(lines), height):
                # A view of the file is read here; signalling NaNs become quiet.
                with self.meter.stage(READ), np.errstate(invalid="ignore"):
                    block = np.ascontiguousarray(lines[first : first + height])
                    x = decode(block, weight.chunk_dtype).astype(np.float64)
                yield x

    def chunks(self) -> Iterator[NDArray[Any]]:
        """The chunks of the weight as stored; raises what `lines` raises."""
        return self.metered(self.weight.chunks())

    def metered(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """Chunks of this weight, which know their ``size``, through the gate and the account."""
        weight, left = self.weight, self.weight.numel
        while left:
            self.meter.gate.wait()
            with self.meter.stage(READ) as reading:
                stored = next(chunks)
                reading.nbytes = weight.nbytes * stored.size // weight.numel
            left -= stored.size
            yield stored
        # Only at its end does it give back the last one's pages.
        next(chunks, None)

    def in_halves(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Rows of each head with one rotary half after the other."""
        pairs = stored.reshape(-1, self.interleaved // 2, 2, *stored.shape[1:])
        return np.asarray(pairs.swapaxes(1, 2).reshape(stored.shape))


def block_height(weight: Weight) -> int:
    """Lines of a block."""
    return max(BLOCK_LINES, BLOCK_ELEMENTS // weight.short)


def whole(weight: Weight, meter: UsageMeter) -> Floats:
    """All elements of a small weight, as stored, shape (rows, cols) or (numel,)."""
    lines = np.concatenate(list(WeightReader(weight, 0, meter).lines()))
    return lines if weight.tall else np.ascontiguousarray(lines.T)
