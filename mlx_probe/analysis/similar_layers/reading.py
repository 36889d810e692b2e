"""Elements of parts in memory: one matrix at a time, or the same piece of a few matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.elements import read_into

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.blocks import Piece
    from mlx_probe.checkpoint import Weight

__all__ = ["Matrix", "Numbers", "gram_of", "inner_first", "read_matrix"]

Numbers = NDArray[np.float32]
Matrix = NDArray[np.float64]


def read_matrix(weight: Weight) -> Numbers:
    """All elements, shape (rows, cols)."""
    values = np.empty(weight.shape, np.float32)
    read_into(weight, values)
    return values


def inner_first(values: Numbers, piece: Piece) -> Numbers:
    """A matrix with hidden units or heads along its rows."""
    return np.ascontiguousarray(values.T) if piece.inner == 1 else values


def gram_of(weights: Sequence[Weight]) -> tuple[Matrix, bool]:
    """Gram matrix of a few matrices of one shape, flattened, streamed side by side.

    Args:
        weights: Readable matrices.

    Returns:
        (n, n), float64; and whether all of them hold the same numbers.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    gram = np.zeros((len(weights), len(weights)))
    same = True
    for chunks in zip(*(weight.values() for weight in weights), strict=True):
        rows = [np.ravel(chunk) for chunk in chunks]
        same = same and all(np.array_equal(rows[0], row) for row in rows[1:])
        # Few elements at a time: float64 copies of a whole chunk would not fit into any cache.
        for start in range(0, len(rows[0]), _TOGETHER):
            flat = np.stack([row[start : start + _TOGETHER].astype(np.float64) for row in rows])
            gram += flat @ flat.T
    return gram, same


_TOGETHER = 1 << 18
