"""Experts that are copies of others, or made of two others, whatever the order of their units.

First in the order in which the units are stored, from the Gram matrices of flattened experts that
the table of experts has anyway. Then in any order: the sum of an expert's units is the same in
every order, and linear in the weights. So a copy has the sum of its original, and the mean of two
experts has the mean of their sums, also where the units of one were permuted before. Of unrelated
experts that holds by chance only within a fraction of their length (they have 3 dim coordinates):
few pairs are left, and their units are matched and compared in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.mixture.combinations import Combination, best_combinations, combined
from mlx_probe.analysis.mixture.units import Units, aligned, cosine_of, matched, sum_cosines
from mlx_probe.analysis.side_tables.elements import Matrix
from mlx_probe.analysis.side_tables.experts.columns import DUPLICATE
from mlx_probe.core.errors import PackingError

if TYPE_CHECKING:
    from mlx_probe.analysis.mixture.layer import MixtureLayer

__all__ = ["ALIKE", "MERGED", "Copies", "find_copies"]

# Part of an expert that is no combination of two others, below which it is merged from them. The
# mean of two experts, rounded to bfloat16, has 0.002; to 8 bits 0.03.
MERGED = 0.05
# Cosine of sums of units above which units are matched; and the remainder below which they are,
# also over that of one alone.
ALIKE, _NEAR, _HALF = 0.9, 0.2, 0.5
_AGAIN = 3


@dataclass(frozen=True)
class Copies:
    """Experts of a layer that repeat others.

    Attributes:
        copies: By the expert's index, the first one that it copies up to the order of its units and
            a factor for each matrix.
        reordered: Copies that are none in the stored order.
        merged: By the expert's index, the two that it is made of.
        aligned: By the expert's index, another one with a similar sum of units, and their cosine
            with the units matched.
        problem: Why only the stored order was looked at; None if any order was.
    """

    copies: dict[int, int] = field(default_factory=dict)
    reordered: set[int] = field(default_factory=set)
    merged: dict[int, Combination] = field(default_factory=dict)
    aligned: dict[int, tuple[int, float]] = field(default_factory=dict)
    problem: str | None = None


def find_copies(
    layer: MixtureLayer, grams: Sequence[Matrix], usable: NDArray[np.bool_], budget: int, seed: int
) -> Copies:
    """Copied and merged experts of a layer.

    Args:
        layer: The layer.
        grams: Whole Gram matrices of the flattened experts, one for each kind of matrix.
        usable: Experts of which all matrices are finite and not zero.
        budget: Bytes.
        seed: Of the projection by which units are matched.

    Raises:
        CheckpointError: A file changed or vanished.
    """
    units = Units(layer, budget, seed)
    found = Copies(problem=units.problem)
    _in_stored_order(found, np.stack(grams), usable)
    if units.problem is None and usable.sum() > 1:
        try:
            _in_any_order(found, units, np.stack(grams), usable)
        except PackingError as error:
            return Copies(found.copies, set(), found.merged, problem=error.fact)
    return found


def _in_stored_order(found: Copies, grams: Matrix, usable: NDArray[np.bool_]) -> None:
    cosines = _cosines(grams, usable).min(axis=0)
    for i in map(int, np.flatnonzero(usable)):
        same = np.flatnonzero(cosines[i, :i] > DUPLICATE)
        if len(same):
            found.copies[i] = int(same[0])
    for c, pair in best_combinations(grams.sum(axis=0), usable).items():
        if c in found.copies or pair.residual > MERGED:
            continue
        three = [c, pair.first, pair.second]
        exact = combined(grams[:, three][:, :, three])
        if exact is not None and exact.residual <= MERGED:
            found.merged[c] = _renamed(exact, pair)


def _cosines(grams: Matrix, usable: NDArray[np.bool_]) -> Matrix:
    """Cosines by Gram matrices, (kinds, E, E); -1 where one of the two is not usable."""
    norms = np.sqrt(np.einsum("kii->ki", grams))
    known = usable & (norms > 0)
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=known)
    both = known[:, :, None] & known[:, None, :]
    return np.where(both, np.where(both, grams, 0.0) * inverse[:, :, None] * inverse[:, None], -1.0)


def _in_any_order(found: Copies, units: Units, grams: Matrix, usable: NDArray[np.bool_]) -> None:
    sums = units.sums(usable)
    of_sums = sums @ sums.swapaxes(1, 2)
    # Units may cancel: an expert whose sum is nothing has no direction.
    known = usable & (np.einsum("kii->ki", of_sums) > 0).all(axis=0)
    # By kind: a copy may have a factor of its own for each kind of matrix.
    cosines = sum_cosines(sums, usable)
    measured: dict[tuple[int, int], Matrix] = {}
    for i in map(int, np.flatnonzero(known)):
        best = cosines[i].max()
        if best < ALIKE:
            continue
        # Of equal ones the first, so that a copy is one of the original.
        j = int(np.flatnonzero(cosines[i] >= best - 1e-9)[0])
        pair = (min(i, j), max(i, j))
        if pair not in measured:
            two = list(pair)
            norms = np.sqrt(np.einsum("kii->ik", grams)[two])
            measured[pair] = aligned(units, pair, norms, grams[:, two][:, :, two])[1]
        both = measured[pair]
        found.aligned[i] = (j, cosine_of(both.sum(axis=0)))
        same = min(map(cosine_of, both)) > DUPLICATE
        if same and j < i and i not in found.copies:
            found.copies[i] = found.copies.get(j, j)
            found.reordered.add(i)
            found.merged.pop(i, None)
    for i, near in best_combinations(of_sums.sum(axis=0), known).items():
        if i in found.copies or i in found.merged:
            continue
        if near.residual > _NEAR or near.left > _HALF:
            continue
        exact = _merged(units, i, near, grams)
        if exact is not None and exact.residual <= MERGED:
            found.merged[i] = exact


def _merged(units: Units, c: int, near: Combination, grams: Matrix) -> Combination | None:
    """An expert as a combination of two, with the units of all three matched."""
    scales = dict(zip(units.kinds, 1 / np.sqrt(grams[:, c, c]), strict=True))
    whole, x, y = (units.keys(each, scales) for each in (c, near.first, near.second))
    a, b = np.float32(near.a), np.float32(near.b)
    # The one with the larger share is seen best.
    orders: list[NDArray[np.int64] | None] = [None, None]
    first = 0 if a >= b else 1
    rest = whole
    for turn in range(2 * _AGAIN):
        which = first if turn % 2 == 0 else 1 - first
        keys, factor = ((x, a), (y, b))[which]
        order = matched(rest, keys, float(factor))
        if order is None:
            return None
        before, orders[which] = orders[which], order
        settled = before is not None and np.array_equal(before, order)
        if settled:
            break
        rest = whole - factor * keys[order]
    exact = combined(units.gram([c, near.first, near.second], [None, *orders]))
    return None if exact is None else _renamed(exact, near)


def _renamed(exact: Combination, pair: Combination) -> Combination:
    return replace(exact, first=pair.first, second=pair.second)
