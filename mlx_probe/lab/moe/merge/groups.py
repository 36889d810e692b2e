"""Which experts of a layer are near-duplicates, and which of them become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.mixture.units import Units, aligned, cosine_of, sum_cosines

__all__ = ["NearDuplicates", "grouped", "near_duplicates"]

Order = NDArray[np.int64]
# Cosines of sums of units differ from those of the units: pairs below the threshold by as much are
# looked at, too.
_MARGIN = 0.15


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of experts of a layer that are alike.

    Attributes:
        cosines: Of all weights with hidden units matched, by the two indices, the smaller first.
        orders: The unit of the second for each unit of the first; None for the stored order.
    """

    cosines: dict[tuple[int, int], float] = field(default_factory=dict)
    orders: dict[tuple[int, int], Order | None] = field(default_factory=dict)


def near_duplicates(units: Units, experts: int, threshold: float) -> NearDuplicates:
    """Every pair of experts with a cosine of at least ``threshold``.

    Only pairs whose sums of units are about as alike are matched and compared; see `find_copies`.

    Args:
        units: Of the layer.
        experts: How many.
        threshold: Least cosine.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    squares = np.stack([np.einsum("kii->k", units.gram([i], [None])) for i in range(experts)])
    usable = np.isfinite(squares).all(axis=1) & (squares > 0).all(axis=1)
    near = sum_cosines(units.sums(usable), usable) >= threshold - _MARGIN
    found = NearDuplicates()
    for i, j in combinations(range(experts), 2):
        if not near[i, j]:
            continue
        stored = units.gram([i, j], [None, None])
        order, gram = aligned(units, (i, j), np.sqrt(squares[[i, j]]), stored)
        cosine = cosine_of(gram.sum(axis=0))
        if cosine >= threshold:
            found.cosines[i, j], found.orders[i, j] = cosine, order
    return found


def grouped(
    cosines: Mapping[tuple[int, int], float], experts: int, least: int = 1
) -> list[list[int]]:
    """Experts in groups of which all pairs are near-duplicates.

    The most alike come together first, until no two groups are left of which all pairs are, or
    ``least`` groups are.

    Args:
        cosines: Of the pairs that are.
        experts: How many there are.
        least: Groups at least.

    Returns:
        The groups in the order of their first experts; most have one.
    """
    group_of = [[expert] for expert in range(experts)]
    left = experts
    for i, j in sorted(cosines, key=lambda pair: (-cosines[pair], pair)):
        one, other = group_of[i], group_of[j]
        if left == least:
            break
        if one is other or not _all_alike(cosines, one, other):
            continue
        whole = sorted(one + other)
        for expert in whole:
            group_of[expert] = whole
        left -= 1
    return [group for expert, group in enumerate(group_of) if group[0] == expert]


def _all_alike(
    cosines: Mapping[tuple[int, int], float], one: Sequence[int], other: Sequence[int]
) -> bool:
    return all((min(a, b), max(a, b)) in cosines for a in one for b in other)
