"""The hidden units of a layer's experts, whose order is arbitrary.

A hidden unit is a row of the gate projection, the same row of the up projection and the same
column of the down projection. An expert is a sum over its units: their order changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.elements import Matrix, read_bytes, read_into
from mlx_probe.compute.matching import stable_matching
from mlx_probe.core.units import format_size

if TYPE_CHECKING:
    from mlx_probe.analysis.mixture.layer import MixtureLayer
    from mlx_probe.checkpoint import Weight

__all__ = ["Units", "aligned", "cosine_of", "matched", "sum_cosines"]

Numbers = NDArray[np.float32]
Order = NDArray[np.int64]
# Coordinates that a unit is projected to before units are matched: cosines are right to 1 / 16.
_COORDINATES = 256
# Units whose best partners are no permutation are matched up to this width: all pairs of them are
# in memory then.
_MATCHED = 2048
_ROWS = 1024


class Units:
    """The units of the experts of a layer; one kind of matrix of three experts is in memory.

    Args:
        layer: The layer.
        budget: Bytes.
        seed: Of the projection.

    Attributes:
        problem: Why units cannot be compared; None if they can.
        kinds: The kinds of matrices.
    """

    def __init__(self, layer: MixtureLayer, budget: int, seed: int) -> None:
        self._groups = layer.groups
        self._seed = seed
        self.kinds = tuple(layer.groups)
        self.problem = _problem(layer, budget)

    def sums(self, usable: NDArray[np.bool_]) -> Matrix:
        """The sum of the units of each expert, which no order changes, shape (kinds, E, dim).

        Each kind of matrix has the same weight: its sums are divided by their mean square.

        Raises:
            CheckpointError: A file changed or vanished.
            PackingError: Pieces of a packed weight contradict each other.
        """
        parts = []
        for kind, group in self._groups.items():
            sums = np.zeros((len(group.members), group.members[0].shape[group.axis]))
            for i in np.flatnonzero(usable):
                sums[i] = self._read(kind, int(i)).sum(axis=0, dtype=np.float64)
            square = float(np.sqrt(np.mean(np.square(sums))))
            parts.append(sums / square if square > 0 else sums)
        return np.stack(parts)

    def keys(self, expert: int, scales: Mapping[str, float]) -> Numbers:
        """The units of an expert, projected to few coordinates, shape (width, coordinates).

        Args:
            expert: Its index.
            scales: What each kind of matrix is multiplied by.
        """
        random = np.random.default_rng(self._seed)
        keys: Numbers | None = None
        for kind, group in self._groups.items():
            dim = group.members[expert].shape[group.axis]
            draw = random.standard_normal((dim, _COORDINATES), np.float32)
            part = self._read(kind, expert) @ (draw * np.float32(scales[kind]))
            keys = part if keys is None else keys + part
        assert keys is not None
        return keys

    def gram(self, experts: Sequence[int], orders: Sequence[Order | None]) -> Matrix:
        """Gram matrices of experts with their units in some orders, shape (kinds, n, n).

        Args:
            experts: Indices.
            orders: Of each, the unit that comes first, second ...; None for the stored order.
        """
        grams = np.zeros((len(self._groups), len(experts), len(experts)))
        for k, kind in enumerate(self._groups):
            found = [
                units if order is None else units[order]
                for order, units in zip(
                    orders, (self._read(kind, expert) for expert in experts), strict=True
                )
            ]
            for first in range(0, len(found[0]), _ROWS):
                rows = [each[first : first + _ROWS].astype(np.float64) for each in found]
                flat = np.stack([each.reshape(-1) for each in rows])
                grams[k] += flat @ flat.T
        return grams

    def _read(self, kind: str, expert: int) -> Numbers:
        """One kind of matrix of an expert, (width, dim)."""
        group = self._groups[kind]
        weight: Weight = group.members[expert]
        values = np.empty(weight.shape, np.float32)
        read_into(weight, values)
        return values if group.axis == 1 else np.ascontiguousarray(values.T)


def matched(keys: Numbers, others: Numbers, factor: float = 1.0) -> Order | None:
    """The unit of another expert that is nearest to each unit, each taken once.

    Args:
        keys: Of the one expert, (width, coordinates).
        others: Of the other.
        factor: What the other's are multiplied by.

    Returns:
        None where the nearest ones are no permutation, and there are too many to match.
    """
    half = (factor**2 / 2) * np.einsum("ij,ij->i", others, others)
    order = np.empty(len(keys), np.int64)
    for first in range(0, len(keys), _ROWS):
        scores = factor * (keys[first : first + _ROWS] @ others.T) - half
        order[first : first + _ROWS] = scores.argmax(axis=1)
    if len(np.unique(order)) == len(order):
        return order
    if len(keys) > _MATCHED:
        return None
    return stable_matching(factor * (keys @ others.T) - half)


def aligned(
    units: Units, pair: tuple[int, int], norms: Matrix, stored: Matrix
) -> tuple[Order | None, Matrix]:
    """Two experts with their units matched, or as stored where they are more alike so.

    Args:
        units: Of their layer.
        pair: Their indices.
        norms: Of each kind of matrix of both, (2, kinds). Each kind counts with norm 1: a copy may
            have a factor of its own for each.
        stored: Their Gram matrices in the stored order, (kinds, 2, 2).

    Returns:
        The unit of the second for each unit of the first, None for the stored order; and the Gram
        matrices so.
    """
    first, second = (
        units.keys(each, dict(zip(units.kinds, (1 / of_kinds).tolist(), strict=True)))
        for each, of_kinds in zip(pair, norms, strict=True)
    )
    order = matched(first, second)
    if order is None:
        return None, stored
    other = units.gram(pair, [None, order])
    return (order, other) if other[:, 0, 1].sum() > stored[:, 0, 1].sum() else (None, stored)


def cosine_of(gram: Matrix) -> float:
    """The cosine of two vectors, by their Gram matrix."""
    return float(np.clip(gram[0, 1] / np.sqrt(gram[0, 0]) / np.sqrt(gram[1, 1]), -1, 1))


def sum_cosines(sums: Matrix, usable: NDArray[np.bool_]) -> Matrix:
    """Cosines of the sums of units, averaged over the kinds of matrices, shape (E, E).

    Args:
        sums: See `Units.sums`.
        usable: Experts that count.

    Returns:
        -1 on the diagonal, and where one of the two does not count or has a sum of 0.
    """
    lengths = np.linalg.norm(sums, axis=2)
    known = usable & (lengths > 0).all(axis=0)
    unit = sums / np.where(lengths > 0, lengths, 1.0)[:, :, None]
    cosines = np.where(known[:, None] & known, (unit @ unit.swapaxes(1, 2)).mean(axis=0), -1.0)
    np.fill_diagonal(cosines, -1.0)
    return cosines


def _problem(layer: MixtureLayer, budget: int) -> str | None:
    groups = layer.groups
    if "gate_up_proj" in groups:
        weight = groups["gate_up_proj"].members[0]
        return f"{weight.name}: gate and up projection cannot be told apart"
    if "down_proj" not in groups or len(groups) < 2:
        return "an expert is not of a down projection and what comes before it"
    if any(group.problem for group in groups.values()):
        return next(group.problem for group in groups.values() if group.problem)
    counts = {len(group.members) for group in groups.values()}
    shapes = {(g.members[0].shape[1 - g.axis], g.members[0].shape[g.axis]) for g in groups.values()}
    if len(counts) > 1 or len(shapes) > 1:
        return "gate, up and down projection have different numbers of experts or units"
    [(width, dim)] = shapes
    # Three matrices, one of them once more in another order, and what is read and projected.
    least = 16 * width * dim + read_bytes(width, dim) + 24 * width * _COORDINATES
    least += 24 * min(width, _MATCHED) ** 2
    if least > budget:
        return (
            f"a memory budget of {format_size(budget)} cannot hold a matrix of three experts: "
            f"that takes {format_size(least)}"
        )
    return None
