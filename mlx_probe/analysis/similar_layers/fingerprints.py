"""What is kept of each part after its matrices were read once.

A sample of elements at the same places of all matrices of one shape shows copies in the stored
order. The sum over hidden units, or over heads, is the same in every order, and linear in the
weights: a permuted copy has the sum of its original.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.similar_layers.leading import leading_directions
from mlx_probe.analysis.similar_layers.reading import inner_first, read_matrix

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.blocks import Part, Piece
    from mlx_probe.analysis.similar_layers.config import SimilarConfig
    from mlx_probe.analysis.similar_layers.leading import Directions
    from mlx_probe.analysis.similar_layers.reading import Numbers

__all__ = ["SAMPLE", "Fingerprint", "fingerprint"]

# Elements of a role that are kept, and coordinates of its sum. Cosines of unrelated numbers are
# then about 1 / sqrt(SAMPLE).
SAMPLE, SUM = 1 << 14, 1 << 13
# Experts of which singular directions are taken, at most: a mixture has thousands of matrices.
_FEW = 1


@dataclass(frozen=True)
class Fingerprint:
    """A part, in few numbers.

    Attributes:
        part: The part.
        norms: Frobenius norm by role.
        samples: Elements by role, (matrices, rows, cols), at the same places for equal shapes.
        sums: By role, what no order changes, (coordinates,); empty where no order is looked for.
        directions: By role.
        problem: Why it cannot be compared; None if it can.
    """

    part: Part
    norms: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, Numbers] = field(default_factory=dict)
    sums: Mapping[str, Numbers] = field(default_factory=dict)
    directions: Mapping[str, Directions] = field(default_factory=dict)
    problem: str | None = None


def fingerprint(part: Part, config: SimilarConfig) -> Fingerprint:
    """Read the matrices of a part once, one at a time.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    norms: dict[str, float] = {}
    samples: dict[str, Numbers] = {}
    sums: dict[str, Numbers] = {}
    directions: dict[str, Directions] = {}
    for piece in part.pieces:
        rows, cols = _places(piece, config.seed)
        square, total = 0.0, None
        taken = np.empty((len(piece.weights), len(rows), len(cols)), np.float32)
        for number, weight in enumerate(piece.weights):
            values = read_matrix(weight)
            square += float(np.einsum("ij,ij->i", values, values).sum(dtype=np.float64))
            if not np.isfinite(square):
                return Fingerprint(part, problem=f"{weight.label}: not all of it is finite")
            taken[number] = values[np.ix_(rows, cols)]
            if part.order and piece.inner is not None:
                units = _summed(inner_first(values, piece), piece)
                total = units if total is None else total + units
            if config.directions and square > 0 and len(piece.weights) <= _FEW:
                found = leading_directions(values, config.directions, config.seed)
                directions[piece.role] = found
        norms[piece.role] = float(np.sqrt(square))
        samples[piece.role] = taken
        if total is not None:
            at = _chosen(len(total), SUM, config.seed)
            sums[piece.role] = total[at].astype(np.float32)
    if not any(norms.values()):
        return Fingerprint(part, norms, problem="all of its matrices are 0")
    return Fingerprint(part, norms, samples, sums, directions)


def _places(piece: Piece, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sampled rows and columns: about as many of each."""
    rows, cols = piece.shape
    side = max(8, int(np.sqrt(SAMPLE / len(piece.weights))))
    few = min(rows, cols, side)
    height = min(rows, max(few, side * side // min(cols, side)))
    width = min(cols, max(few, side * side // min(rows, side)))
    return _chosen(rows, height, seed), _chosen(cols, width, seed + 1)


def _chosen(extent: int, most: int, seed: int) -> NDArray[np.int64]:
    """Places along an axis, the same for every matrix of one shape."""
    random = np.random.default_rng([seed, extent, most])
    return np.sort(random.permutation(extent)[:most])


def _summed(units: Numbers, piece: Piece) -> NDArray[np.float64]:
    """The sum over hidden units, or over heads line by line; of a router over the experts."""
    heads = piece.heads or len(units)
    total: NDArray[np.float64] = units.reshape(heads, -1).sum(axis=0, dtype=np.float64)
    return total
