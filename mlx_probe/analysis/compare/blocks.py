"""Two matrices side by side, in float64 blocks of lines along the long side.

A block has the shape (k, M), M = min(rows, cols): lines of a tall or square matrix are its rows,
those of a wide one its columns. A vector comes in blocks of shape (k,).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint import Weight
from mlx_probe.compute.backends.numpy.backend import BLOCK_ELEMENTS, BLOCK_LINES
from mlx_probe.core.dtypes import decode
from mlx_probe.runs.monitor import Gate

__all__ = ["Both", "Floats", "Side", "TwoSides", "whole"]

Floats = NDArray[np.float64]


class Both(Protocol):
    """Two tensors of one shape that can be streamed side by side again and again."""

    def blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A and of B at the same place, in order."""


@dataclass(frozen=True)
class Side:
    """A weight as one side of a comparison.

    Attributes:
        weight: The weight.
        turn: Rows of an attention head whose rotary pairs lie beside each other, and are
            brought into two halves; 0 for rows as stored. See `pairing.rotary_turn`.
        gate: What is passed before every slab.
    """

    weight: Weight
    turn: int = 0
    gate: Gate = field(default_factory=Gate)

    def lines(self) -> Iterator[Floats]:
        """Blocks of the elements.

        Raises:
            CheckpointError: The file is closed, gone or changed.
            PackingError: Pieces of a packed weight contradict each other.
            Stopped: The gate is closed for good.
        """
        weight = self.weight
        height = max(BLOCK_LINES, BLOCK_ELEMENTS // weight.short)
        self.gate.wait()
        elements = 0
        for stored in weight.chunks():
            words = self._in_halves(stored) if self.turn else stored
            lines = words if weight.tall else words.T
            for first in range(0, len(lines), height):
                block = np.ascontiguousarray(lines[first : first + height])
                with np.errstate(invalid="ignore"):  # signalling NaNs turn quiet, as they should
                    x = decode(block, weight.chunk_dtype).astype(np.float64)
                yield x
            elements += stored.size
            # Not after the last one: what needs no more bytes is finished.
            if elements < weight.numel:
                self.gate.wait()

    def _in_halves(self, stored: NDArray[Any]) -> NDArray[Any]:
        pairs = stored.reshape(-1, self.turn // 2, 2, *stored.shape[1:])
        return np.asarray(pairs.swapaxes(1, 2).reshape(stored.shape))


@dataclass(frozen=True)
class TwoSides:
    """Two weights of one shape.

    Attributes:
        a: The first.
        b: The second.
    """

    a: Side
    b: Side

    def blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A and of B; chunks are cut by the shape alone, so that they fall together."""
        if self.a is self.b:
            yield from ((x, x) for x in self.a.lines())
        else:
            yield from zip(self.a.lines(), self.b.lines(), strict=True)


def whole(weight: Weight) -> Floats:
    """All elements of a small weight, as stored, shape (rows, cols) or (numel,)."""
    lines = np.concatenate(list(Side(weight).lines()))
    return lines if weight.tall else np.ascontiguousarray(lines.T)
