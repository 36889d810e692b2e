"""Which parts are copies of others, and how near: candidates by fingerprints, then all elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.similar_layers.alignment import align
from mlx_probe.analysis.similar_layers.reading import gram_of

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.config import SimilarConfig
    from mlx_probe.analysis.similar_layers.group import Group
    from mlx_probe.analysis.similar_layers.reading import Matrix

__all__ = ["Relation", "copies_in"]

# Partners of a part that are compared in full, the nearest ones by their samples; in any order
# fewer, because each costs a matching.
_CLOSEST, _CLOSEST_BY_SUM = 3, 2
# What one may be further off than another and still be as near.
_TIE = 1.25
# What a sample may be off by before all elements are looked at.
_SLACK = 0.1
# Cosine of sums at which units are matched. Noise as large as the weights leaves 0.7.
_SUMS = 0.6


@dataclass(frozen=True)
class Relation:
    """A part that copies another one.

    Attributes:
        part: Index in the group.
        other: Index of the part that it is like.
        kind: "same": equal numbers. "near": alike in the stored order. "permuted": alike after
            hidden units, heads or experts were put into one order.
        cosine: By role, of all elements; where the order was changed, in the new order.
        distance: By role, ||A - B|| / ||A||, of all elements in that order.
        held: By role, cosine on coordinates that did not choose the order; empty in the stored one.
        moved: Units, heads or experts that are elsewhere; 0 in the stored order.
        count: How many there are.
    """

    part: int
    other: int
    kind: str
    cosine: Mapping[str, float]
    distance: Mapping[str, float]
    held: Mapping[str, float]
    moved: int = 0
    count: int = 0

    @property
    def least(self) -> float:
        """The smallest cosine of a role."""
        return min(self.cosine.values())

    @property
    def furthest(self) -> float:
        """The largest distance of a role."""
        return max(self.distance.values())


def copies_in(group: Group, config: SimilarConfig) -> list[Relation]:
    """Parts of the model that is asked about that copy an earlier one, or one of another model.

    Args:
        group: Parts of one signature.
        config: Seed and smallest cosine.

    Returns:
        Of each part at most one relation to a part of its own model, and one to each other model.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    stored, summed = group.least(group.stored), group.least(group.summed)
    models = np.array([each.part.place.model for each in group.prints])
    relations = []
    for part in range(group.own):
        for model in sorted(set(models)):
            others = np.flatnonzero(models == model)
            if model == 0:
                others = others[others < part]
            found = _closest(group, part, others, stored, summed, config)
            if found is not None:
                relations.append(found)
    return relations


def _closest(
    group: Group,
    part: int,
    others: np.ndarray,
    stored: Matrix,
    summed: Matrix,
    config: SimilarConfig,
) -> Relation | None:
    """The nearest of some parts that a part copies; of equal ones the first."""
    near = _best(stored[part, others], others, config.alike - _SLACK, _CLOSEST)
    found = [each for other in near if (each := in_stored_order(group, part, other))]
    if not found and group.prints[part].part.order:
        for other in _best(summed[part, others], others, _SUMS, _CLOSEST_BY_SUM):
            if relation := in_any_order(group, part, other, config.seed):
                found.append(relation)
    if not found:
        return None
    # Of two that are as near the first: a copy of a copy is one of the original.
    best = min(1 - each.least for each in found)
    near_best = [each for each in found if 1 - each.least <= _TIE * best + 1e-6]
    return min(near_best, key=lambda each: each.other)


def _best(cosines: Matrix, others: np.ndarray, least: float, most: int) -> list[int]:
    order = np.argsort(-cosines, kind="stable")[:most]
    return [int(others[at]) for at in order if cosines[at] >= least]


def in_stored_order(group: Group, part: int, other: int) -> Relation | None:
    """Two parts compared element by element; None where they are no copies.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    one, two = group.prints[part], group.prints[other]
    cosine, distance, equal = {}, {}, True
    for first, second in zip(one.part.pieces, two.part.pieces, strict=True):
        total = np.zeros((2, 2))
        for pair in zip(first.weights, second.weights, strict=True):
            gram, same = gram_of(pair)
            total += gram
            equal = equal and same
        if first.role in group.roles:
            cosine[first.role], distance[first.role] = _measures(total)
    if not equal and not passes(group, cosine):
        return None
    return Relation(part, other, "same" if equal else "near", cosine, distance, {})


def in_any_order(group: Group, part: int, other: int, seed: int) -> Relation | None:
    """Two parts compared with units, heads or experts matched; None where they are no copies.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    one, two = group.prints[part], group.prints[other]
    found = align(one.part, two.part, one.norms, seed)
    if found is None or not passes(group, found.held):
        return None
    return Relation(
        *(part, other, "permuted", found.whole, found.distance, found.held),
        moved=found.moved,
        count=found.count,
    )


def passes(group: Group, cosines: Mapping[str, float]) -> bool:
    """Whether every role that decides is above its threshold."""
    known = {role: value for role, value in cosines.items() if group.chance[role].decides}
    return bool(known) and all(
        value >= group.chance[role].threshold for role, value in known.items()
    )


def _measures(gram: Matrix) -> tuple[float, float]:
    (aa, ab), (_, bb) = gram
    if aa <= 0 or bb <= 0:
        return (1.0, 0.0) if aa == bb else (0.0, 1.0)
    distance = np.sqrt(max(0.0, aa + bb - 2 * ab) / aa)
    return float(np.clip(ab / np.sqrt(aa * bb), -1, 1)), float(distance)
