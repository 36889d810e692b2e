"""What is said about several models together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from mlx_probe.analysis.lineage.merge_records import MergeWeights
from mlx_probe.analysis.lineage.records import Relation, RelationName

__all__ = ["Descent", "Family", "Member", "Tree"]


@dataclass(frozen=True)
class Member:
    """One of the models.

    Attributes:
        name: Its name, which no other one has.
        path: Its folder or file, or its address.
        parameters: Its elements.
        layers: Its blocks.
        nbytes: Its weights as stored.
    """

    name: str
    path: str
    parameters: int
    layers: int
    nbytes: int


@dataclass(frozen=True)
class Descent:
    """That a model comes from another one.

    Attributes:
        parent: Name of the one.
        child: Name of the other.
        relation: How.
        probability: Of the relation.
        directed: Whether anything says that it is this way round; if not, they are next of kin,
            and the tree has to begin somewhere.
        weight: The parent's weight in a merge that has one weight for the whole model; None
            elsewhere.
        reason: Why; may be empty.
    """

    parent: str
    child: str
    relation: RelationName
    probability: float
    directed: bool
    weight: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Tree:
    """Models that are related, with what comes from what.

    Attributes:
        members: Names, roots first, every parent before its children where there is no circle.
        roots: Names of those that come from none of the others.
        root_known: Whether anything says that the roots are the origins; if not, the root is the
            one that is nearest to all others.
        edges: At most one for each model, and one for each parent of a merge.
    """

    members: tuple[str, ...]
    roots: tuple[str, ...]
    root_known: bool
    edges: tuple[Descent, ...]


@dataclass(frozen=True)
class Family:
    """Several models, how each pair is related, and what comes from what.

    Attributes:
        members: In the order in which they were named.
        relations: Every pair, in that order.
        merges: Models that are merges of others among them.
        trees: Related models together, the largest tree first; unrelated ones alone.
        left_out: Models that could not be compared, with the reason.
    """

    members: tuple[Member, ...]
    relations: tuple[Relation, ...]
    merges: tuple[MergeWeights, ...]
    trees: tuple[Tree, ...]
    left_out: Mapping[str, str]

    @cached_property
    def by_name(self) -> Mapping[str, Member]:
        """The members by their names."""
        return {member.name: member for member in self.members}

    @property
    def edges(self) -> Iterable[Descent]:
        """Those of all trees."""
        return (edge for tree in self.trees for edge in tree.edges)

    def as_json(self) -> dict[str, Any]:
        """The document of ``mlx-probe lineage`` for more than two models."""
        return {
            "models": [asdict(member) for member in self.members],
            "pairs": [relation.as_json() for relation in self.relations],
            "merges": [merge.as_json() for merge in self.merges],
            "tree": [asdict(tree) for tree in self.trees],
            "left_out": dict(self.left_out),
        }
