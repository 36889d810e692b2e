"""Parts of equal roles and shapes, compared by what is kept of them, with the null of chance.

The null is measured in the model itself: the cosine of a sample of one part with the sample of
another whose rows are shifted. It has the sizes of channels and outliers of these matrices, and
what is left is no copy. It holds also where all blocks are copies of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.core.median import median

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.fingerprints import Fingerprint
    from mlx_probe.analysis.similar_layers.reading import Matrix, Numbers

__all__ = ["Chance", "Group", "groups_of"]

# Probability that one of all comparisons of a group passes by chance.
_FAMILY = 1e-3
# A role whose threshold is above that has too few numbers to tell a copy from chance.
_UNDECIDED = 0.95


@dataclass(frozen=True)
class Chance:
    """Cosines of rows that do not belong together, of one role.

    Attributes:
        center: Median.
        spread: 1.4826 times the median distance from it; at least that of independent numbers.
        largest: The largest one that was seen.
        threshold: Cosine at which two matrices are copies.
        comparisons: Pairs that the threshold is corrected for.
    """

    center: float
    spread: float
    largest: float
    threshold: float
    comparisons: int

    @property
    def decides(self) -> bool:
        """Whether the role has enough numbers."""
        return self.threshold <= _UNDECIDED


@dataclass(frozen=True)
class Group:
    """Parts of one signature that can be compared.

    Attributes:
        prints: Their fingerprints, those of the model that is asked about first.
        own: How many these are.
        roles: Roles whose matrices are not all 0.
        stored: By role, cosines of the samples in the stored order, (n, n); NaN for zero matrices.
        summed: By role, cosines of the sums that no order changes; empty where there is no order.
        chance: By role.
    """

    prints: tuple[Fingerprint, ...]
    own: int
    roles: tuple[str, ...]
    stored: Mapping[str, Matrix]
    summed: Mapping[str, Matrix]
    chance: Mapping[str, Chance]

    @property
    def name(self) -> str:
        """What the parts are called."""
        return self.prints[0].part.name

    def least(self, cosines: Mapping[str, Matrix]) -> Matrix:
        """The smallest cosine of a role that decides, of each pair, (n, n); -1 without one."""
        known = [values for role, values in cosines.items() if self.chance[role].decides]
        if not known:
            count = len(self.prints)
            return np.full((count, count), -1.0)
        stacked = np.stack(known)
        least: Matrix = np.where(np.isnan(stacked), 2.0, stacked).min(axis=0)
        return np.where(least > 1.5, -1.0, least)


def groups_of(prints: Sequence[Fingerprint], alike: float) -> list[Group]:
    """Groups with at least two parts, one of them of the model that is asked about.

    Args:
        prints: Of all models, in the order of their places; those with a problem are left out.
        alike: Smallest threshold.
    """
    by: dict[tuple[object, ...], list[Fingerprint]] = {}
    for each in prints:
        if each.problem is None:
            by.setdefault(each.part.signature, []).append(each)
    groups = []
    for members in by.values():
        own = sum(each.part.place.model == 0 for each in members)
        if own and len(members) > 1:
            groups.append(_group(tuple(members), own, alike))
    return groups


def _group(prints: tuple[Fingerprint, ...], own: int, alike: float) -> Group:
    roles = tuple(
        piece.role
        for piece in prints[0].part.pieces
        if any(each.norms[piece.role] > 0 for each in prints)
    )
    stored, summed, chance = {}, {}, {}
    comparisons = own * (own - 1) // 2 + own * (len(prints) - own)
    for role in roles:
        samples = [each.samples[role] for each in prints]
        flat = np.stack([each.ravel() for each in samples]).astype(np.float64)
        # Half of the rows further: no row stays in its place.
        half = max(1, samples[0].shape[1] // 2)
        shifted = np.stack([np.roll(each, half, axis=1).ravel() for each in samples])
        stored[role] = _cosines(flat, flat)
        by_chance = _cosines(flat, shifted.astype(np.float64))
        apart = by_chance[~np.eye(len(prints), dtype=bool)]
        chance[role] = _chance(apart, flat.shape[1], comparisons, alike)
        if all(role in each.sums for each in prints):
            sums = np.stack([each.sums[role] for each in prints]).astype(np.float64)
            summed[role] = _cosines(sums, sums)
    return Group(prints, own, roles, stored, summed, chance)


def _cosines(one: Matrix | Numbers, other: Matrix) -> Matrix:
    """Cosines of rows; NaN where one of them is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        first = one / np.linalg.norm(one, axis=1, keepdims=True)
        second = other / np.linalg.norm(other, axis=1, keepdims=True)
    return np.asarray(first @ second.T)


def _chance(apart: Matrix, size: int, comparisons: int, alike: float) -> Chance:
    apart = apart[np.isfinite(apart)]
    if not len(apart):
        return Chance(0.0, 0.0, 0.0, 1.0, comparisons)
    center = float(median(apart))
    spread = max(1.4826 * float(median(np.abs(apart - center))), size**-0.5)
    largest = float(np.abs(apart).max())
    wanted = center + NormalDist().inv_cdf(1 - _FAMILY / max(1, comparisons)) * spread
    return Chance(center, spread, largest, max(alike, wanted, largest), comparisons)
