"""Where each block of a model comes from in other models: ranges, moved, repeated and left out."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_probe.analysis.similar_layers.blockwise import runs_of

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.blocks import Place
    from mlx_probe.analysis.similar_layers.blockwise import BlockCopy, Run

__all__ = ["Origin", "origin_of"]


@dataclass(frozen=True)
class Origin:
    """What other models a stack was made from.

    Attributes:
        of: The block of another model that each block copies most closely.
        runs: Ranges of blocks that come from ranges.
        moved: Blocks that are out of the order that their originals have.
        repeated: Blocks whose original another, earlier block copies, too.
        absent: Blocks of the other models that no block copies.
        unknown: Blocks that copy no block of the other models.
    """

    of: Mapping[Place, BlockCopy]
    runs: tuple[Run, ...]
    moved: tuple[Place, ...]
    repeated: tuple[Place, ...]
    absent: tuple[Place, ...]
    unknown: tuple[Place, ...]


def origin_of(
    copies: Sequence[BlockCopy],
    own: Sequence[Place],
    others: Sequence[Place],
    mixed: Sequence[Place] = (),
) -> Origin:
    """Where the blocks come from.

    Args:
        copies: Of blocks of the model by blocks of other models.
        own: All blocks of the model that can be compared.
        others: All blocks of the other models.
        mixed: Blocks that mixtures are made of.
    """
    of: dict[Place, BlockCopy] = {}
    for copy in copies:
        before = of.get(copy.place)
        # More parts first, then the smaller distance, then the earlier model.
        rank = (len(copy.parts), -copy.distance, -copy.other.model)
        if before is None or rank > (
            len(before.parts), -before.distance, -before.other.model
        ):  # fmt: skip
            of[copy.place] = copy
    ordered = [of[place] for place in sorted(of)]
    seen: set[Place] = set()
    repeated = []
    for copy in ordered:
        if copy.other in seen:
            repeated.append(copy.place)
        seen.add(copy.other)
    return Origin(
        of,
        tuple(runs_of(ordered)),
        tuple(_moved(ordered)),
        tuple(repeated),
        tuple(sorted(set(others) - seen - set(mixed))),
        tuple(sorted(set(own) - set(of))),
    )


def _moved(copies: Sequence[BlockCopy]) -> list[Place]:
    """Blocks outside the longest run of originals in rising order, of each stack and model.

    A range that occurs twice is no disorder: blocks whose original is copied more than once are
    left out.
    """
    uses = Counter(copy.other for copy in copies)
    once = [copy for copy in copies if uses[copy.other] == 1]
    moved = []
    for key in sorted({(copy.place.stack, copy.other.model, copy.other.stack) for copy in once}):
        members = [
            copy for copy in once if (copy.place.stack, copy.other.model, copy.other.stack) == key
        ]
        kept = _rising([copy.other.layer for copy in members])
        moved += [copy.place for at, copy in enumerate(members) if at not in kept]
    return sorted(moved)


def _rising(numbers: Sequence[int]) -> set[int]:
    """Positions of one longest rising subsequence (patience sorting)."""
    tops: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for at, number in enumerate(numbers):
        pile = bisect_left(tops, number)
        before.append(ends[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(number)
            ends.append(at)
        else:
            tops[pile], ends[pile] = number, at
    kept: set[int] = set()
    at = ends[-1] if ends else -1
    while at >= 0:
        kept.add(at)
        at = before[at]
    return kept
