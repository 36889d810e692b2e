"""Examples that share a function, and which part each is in.

A function that a model was trained on must not be in what it is tested on. Examples are nodes,
functions are edges, and what is connected stays together: the components of that graph go to
train, valid or test as a whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["PARTS", "Groups", "Split", "split_groups"]

PARTS = ("train", "valid", "test")
# A part that is so much smaller than wanted is worth a note.
_NOTABLE = 0.05


class Groups:
    """The components of examples, as they come in (disjoint sets with path halving)."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._node_of: dict[bytes, int] = {}
        self._of_example: list[int] = []

    def add(self, keys: Iterable[bytes], alone: bytes) -> None:
        """Add an example.

        Args:
            keys: Of its functions.
            alone: What it is known by if it has none.
        """
        nodes = [self._node(key) for key in set(keys)] or [self._node(alone)]
        for other in nodes[1:]:
            self._join(nodes[0], other)
        self._of_example.append(nodes[0])

    @property
    def keys(self) -> int:
        """Number of different functions, and of examples without any."""
        return len(self._node_of)

    def components(self) -> list[int]:
        """The component of each example, by the number of one of its functions."""
        return [self._root(node) for node in self._of_example]

    def names(self) -> dict[int, bytes]:
        """The smallest key of each component: what the component is, in any order of reading."""
        names: dict[int, bytes] = {}
        for key, node in self._node_of.items():
            root = self._root(node)
            names[root] = min(names.get(root, key), key)
        return names

    def _node(self, key: bytes) -> int:
        node = self._node_of.setdefault(key, len(self._parent))
        if node == len(self._parent):
            self._parent.append(node)
        return node

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def _join(self, one: int, other: int) -> None:
        self._parent[self._root(one)] = self._root(other)


@dataclass(frozen=True)
class Split:
    """Which part each example is in.

    Attributes:
        part_of: Index in `PARTS` of each example.
        components: Components of each part.
        largest: Examples of the largest component.
        notes: Which shares could not be met, and why.
    """

    part_of: bytes
    components: dict[str, int]
    largest: int
    notes: tuple[str, ...]


def split_groups(groups: Groups, valid: float, test: float, seed: int) -> Split:
    """Give each component to a part.

    Components come in an order that the seed and their functions decide. Each goes to test where
    it fits into what test still lacks, else to valid, else to train; a wanted part that is empty
    then gets the smallest component of train.

    Args:
        groups: All examples.
        valid: Share of the examples that valid has at most.
        test: Share of the examples that test has at most.
        seed: Decides the order.
    """
    component_of, names = groups.components(), groups.names()
    sizes = Counter(component_of)
    count = len(component_of)
    wanted = {"valid": round(valid * count), "test": round(test * count)}
    left, given = dict(wanted), {}

    def order(component: int) -> bytes:
        return hashlib.sha256(f"{seed} ".encode() + names[component]).digest()

    for component in sorted(sizes, key=order):
        size = sizes[component]
        part = next((name for name in ("test", "valid") if size <= left[name]), "train")
        given[component] = part
        if part != "train":
            left[part] -= size
    for part, share in (("valid", valid), ("test", test)):
        train = [component for component in sizes if given[component] == "train"]
        if share and part not in given.values() and len(train) > 1:
            smallest = min(train, key=lambda component: (sizes[component], order(component)))
            given[smallest] = part
            left[part] -= sizes[smallest]
    largest = max(sizes.values(), default=0)
    notes = tuple(
        f"{part} has {wanted[part] - left[part]} examples of {wanted[part]} wanted: "
        f"the largest group of examples that share functions has {largest} of {count}"
        for part in wanted
        if abs(left[part]) > _NOTABLE * max(wanted[part], 1)
    )
    parts = Counter(given.values())
    return Split(
        bytes(PARTS.index(given[component]) for component in component_of),
        {part: parts[part] for part in PARTS},
        largest,
        notes,
    )
