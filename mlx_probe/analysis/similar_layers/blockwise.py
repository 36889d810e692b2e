"""From parts to blocks: what a whole block copies, and runs of blocks with the same offset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.averages import Average
    from mlx_probe.analysis.similar_layers.blocks import Place
    from mlx_probe.analysis.similar_layers.relations import Relation

__all__ = ["KINDS", "BlockCopy", "BlockMixture", "Run", "block_copies", "block_mixtures", "runs_of"]

# How a part is like another, the nearest first: see `Relation`.
KINDS = ("same", "near", "permuted")
# Shares of the parts of one mixture differ by less.
_SHARES = 0.05


@dataclass(frozen=True)
class BlockCopy:
    """A block that copies another one, or parts of it that do.

    Attributes:
        place: The block.
        other: The block that it is like.
        parts: Its parts that are, by name.
        whole: Whether these are all that can be compared.
    """

    place: Place
    other: Place
    parts: Mapping[str, Relation]
    whole: bool

    @property
    def kind(self) -> str:
        """Of the parts the one that is furthest from equal."""
        return max((each.kind for each in self.parts.values()), key=KINDS.index)

    @property
    def cosine(self) -> float:
        """The smallest one of a matrix."""
        return min(each.least for each in self.parts.values())

    @property
    def distance(self) -> float:
        """The largest one of a matrix."""
        return max(each.furthest for each in self.parts.values())


@dataclass(frozen=True)
class BlockMixture:
    """A block that is a mixture of two others, or parts of it that are.

    Attributes:
        place: The block.
        first: One of them.
        second: The other.
        parts: By name.
        whole: Whether these are all that can be compared.
    """

    place: Place
    first: Place
    second: Place
    parts: Mapping[str, Average]
    whole: bool

    @property
    def share(self) -> float:
        """Of the first, averaged over the parts."""
        return sum(each.share for each in self.parts.values()) / len(self.parts)

    @property
    def rest(self) -> float:
        """The largest one of a matrix."""
        return max(each.rest for each in self.parts.values())

    def follows(self, before: BlockMixture) -> bool:
        """Whether it goes on what a block of two other models began."""
        return (
            self.first.model > 0
            and (_next(before.place), _next(before.first), _next(before.second))
            == (self.place, self.first, self.second)
            and set(before.parts) == set(self.parts)
            and abs(before.share - self.share) <= _SHARES
        )


@dataclass(frozen=True)
class Run:
    """Consecutive blocks that copy consecutive blocks.

    Attributes:
        copies: One for each block, in order.
    """

    copies: tuple[BlockCopy, ...]

    @property
    def kind(self) -> str:
        """Of the copies the one that is furthest from equal."""
        return max((each.kind for each in self.copies), key=KINDS.index)


def block_copies(
    relations: Sequence[tuple[Place, Place, str, Relation]], parts: Mapping[Place, Sequence[str]]
) -> list[BlockCopy]:
    """What each block copies: in its own model, and in each other one.

    Args:
        relations: Block, other block, part, and how they are alike.
        parts: The parts of each block that were compared.

    Returns:
        In the order of the blocks. Parts of a block that copy different blocks are apart.
    """
    by: dict[tuple[Place, Place], dict[str, Relation]] = defaultdict(dict)
    for place, other, name, relation in relations:
        by[place, other][name] = relation
    return [
        BlockCopy(place, other, found, set(found) == set(parts[place]))
        for (place, other), found in sorted(by.items(), key=lambda each: each[0])
    ]


def block_mixtures(
    averages: Sequence[tuple[Place, Place, Place, str, Average]],
    parts: Mapping[Place, Sequence[str]],
) -> list[BlockMixture]:
    """Which block each is a mixture of; parts with different pairs or shares are apart."""
    found: list[tuple[Place, Place, Place, dict[str, Average]]] = []
    for place, first, second, name, average in sorted(averages, key=lambda each: each[:4]):
        for *key, members in found:
            share = next(iter(members.values())).share
            if key == [place, first, second] and abs(share - average.share) <= _SHARES:
                members[name] = average
                break
        else:
            found.append((place, first, second, {name: average}))
    return [
        BlockMixture(place, first, second, members, set(members) == set(parts[place]))
        for place, first, second, members in found
    ]


def runs_of(copies: Sequence[BlockCopy]) -> list[Run]:
    """Copies joined where block and original both go on, alike in the same way."""
    runs: list[list[BlockCopy]] = []
    for copy in copies:
        last = runs[-1][-1] if runs else None
        follows = (
            last is not None
            and last.whole == copy.whole
            and _kinds(last) == _kinds(copy)
            and _next(last.place) == copy.place
            and _next(last.other) == copy.other
        )
        if follows:
            runs[-1].append(copy)
        else:
            runs.append([copy])
    return [Run(tuple(run)) for run in runs]


def _kinds(copy: BlockCopy) -> dict[str, str]:
    return {name: each.kind for name, each in copy.parts.items()}


def _next(place: Place) -> Place:
    return replace(place, layer=place.layer + 1)
