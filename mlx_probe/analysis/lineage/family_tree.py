"""What comes from what among related models.

Weights say how near two models are, and seldom which one was first. Where something says it (a
quantization, a pruning, a merge, a model card), the edge has that direction. The others are next
of kin: a spanning tree of the smallest distances (Prim 1957), begun at its centre, which is where a
common base lies, since fine-tunes differ from each other by what both have changed. Merges are
left out of it at first: a mean of tunes is nearer to their base than each of them. A leaf that is
nearer to a merge than to its next of kin is then taken to come from the merge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlx_probe.analysis.lineage.family_records import Descent, Tree
from mlx_probe.analysis.lineage.merge_records import MergeWeights
from mlx_probe.analysis.lineage.records import Relation

__all__ = ["centre", "distance", "trees_of"]

# Distance of models that have no elements at the same positions, or too many differ.
_FAR = 10.0
# The base of four equal, independent tunes is half as far from their mean as from each of them:
# what is nearer to a merge comes from it.
_CLEARLY = 0.45


def distance(relation: Relation) -> float:
    """How far two models are apart: norm of the difference over the norm, where it is known."""
    known = relation.numbers.get("difference")
    if known is None or not known < _FAR:
        return _FAR * (2 - relation.numbers.get("similarity", 0.0))
    return known


def trees_of(
    names: Sequence[str], relations: Iterable[Relation], merges: Iterable[MergeWeights]
) -> tuple[Tree, ...]:
    """The trees of some models.

    Args:
        names: All models.
        relations: Every pair of them.
        merges: Models that are merges of others.

    Returns:
        The largest first; of equal ones, that with the first of the names.
    """
    builder = _Builder(names, relations, merges)
    trees = [builder.tree(members) for members in builder.components()]
    return tuple(sorted(trees, key=lambda tree: -len(tree.members)))


@dataclass(frozen=True)
class _Kin:
    """A related pair, seen from one side: whether the other one may be, or is, the parent."""

    other: str
    distance: float
    relation: Relation
    is_parent: bool
    is_child: bool


class _Builder:
    def __init__(
        self,
        names: Sequence[str],
        relations: Iterable[Relation],
        merges: Iterable[MergeWeights],
    ) -> None:
        self._names = names
        self._merges = {merge.child: merge for merge in merges}
        self._kin: dict[str, list[_Kin]] = defaultdict(list)
        for relation in relations:
            if relation.relation != "unrelated":
                far, a, b = distance(relation), relation.a, relation.b
                known = relation.parent
                self._kin[a].append(_Kin(b, far, relation, known == "b", known == "a"))
                self._kin[b].append(_Kin(a, far, relation, known == "a", known == "b"))
        self._parents: dict[str, list[Descent]] = {}
        for name, merge in self._merges.items():
            self._parents[name] = [self._of_merge(merge, i) for i in range(len(merge.parents))]
        for name in names:
            self._descend(name)

    def _of_merge(self, merge: MergeWeights, i: int) -> Descent:
        return Descent(
            parent=merge.parents[i],
            child=merge.child,
            relation="merge",
            probability=merge.probability,
            directed=True,
            weight=merge.parts[i].weight if merge.parts else None,
            reason=merge.why[0] if merge.why else "",
        )

    def _descend(self, name: str) -> None:
        """From the nearest of the models that something says it comes from."""
        if name in self._parents:
            return
        known = [kin for kin in self._kin[name] if kin.is_parent]
        for kin in sorted(known, key=lambda k: (k.distance, self._names.index(k.other))):
            if name not in self._ancestors(kin.other):
                self._parents[name] = [_edge(kin, name, True)]
                return

    def _ancestors(self, name: str) -> set[str]:
        """A model and all that it comes from."""
        seen, waiting = {name}, [name]
        while waiting:
            for edge in self._parents.get(waiting.pop(), ()):
                if edge.parent not in seen:
                    seen.add(edge.parent)
                    waiting.append(edge.parent)
        return seen

    def components(self) -> list[list[str]]:
        """Related models together, in the order of their names."""
        near: Mapping[str, set[str]] = {name: set() for name in self._names}
        for name in self._names:
            parents = [edge.parent for edge in self._parents.get(name, ())]
            for other in (*(kin.other for kin in self._kin[name]), *parents):
                near[name].add(other)
                near[other].add(name)
        parts, seen = list[list[str]](), set[str]()
        for name in self._names:
            if name in seen:
                continue
            waiting, part = [name], {name}
            while waiting:
                fresh = near[waiting.pop()] - part
                part |= fresh
                waiting += fresh
            seen |= part
            parts.append([each for each in self._names if each in part])
        return parts

    def tree(self, members: Sequence[str]) -> Tree:
        """The tree of one component."""
        edges = [edge for name in members for edge in self._parents.get(name, ())]
        free = [name for name in members if name not in self._parents]
        tuned = {name: kin for name in free if (kin := self._clearly_from_merge(name))}
        edges += [_edge(kin, name, False) for name, kin in tuned.items()]
        free = [name for name in free if name not in tuned]
        roots, grown = list[str](), list[Descent]()
        while free:
            root = centre(self._part_of(free), self._distances())
            roots.append(root)
            free.remove(root)
            grown += self._grow(root, free, [*edges, *grown])
        edges += self._moved_to_merges(grown)
        is_known = not any(not edge.directed and edge.parent in roots for edge in edges)
        return Tree(_ordered(members, roots, edges), tuple(roots), is_known, tuple(edges))

    def _clearly_from_merge(self, name: str) -> _Kin | None:
        """The merge that a model is so near to that it cannot be the base of its parents."""
        far = {kin.other: kin.distance for kin in self._kin[name]}
        for kin in sorted(self._kin[name], key=lambda k: k.distance):
            merge = self._merges.get(kin.other)
            if merge is None or kin.is_child or name in self._ancestors(kin.other):
                continue
            nearest = min(far.get(parent, 2 * _FAR) for parent in merge.parents)
            return kin if kin.distance < _CLEARLY * nearest else None
        return None

    def _distances(self) -> dict[tuple[str, str], float]:
        return {(name, kin.other): kin.distance for name in self._names for kin in self._kin[name]}

    def _part_of(self, free: Sequence[str]) -> list[str]:
        """The first of some models, and those among them that it is related to."""
        near = {kin.other for kin in self._kin[free[0]]}
        return [name for name in free if name == free[0] or name in near]

    def _grow(self, root: str, free: list[str], edges: Sequence[Descent]) -> list[Descent]:
        """Attach those without a parent to what the root has reached, the nearest first.

        Merges, and what comes from them, are not reached.
        """
        single = [edge for edge in edges if edge.child not in self._merges]
        grown = list[Descent]()
        reached = _reached({root}, single)
        while True:
            near = [
                (kin.distance, self._names.index(name), kin, name)
                for name in free
                for kin in self._kin[name]
                if kin.other in reached and not kin.is_child
            ]
            if not near:
                return grown
            *_, kin, name = min(near, key=lambda each: each[:2])
            grown.append(_edge(kin, name, False))
            free.remove(name)
            reached = _reached({name, *reached}, single)

    def _moved_to_merges(self, grown: Sequence[Descent]) -> list[Descent]:
        """The same edges, where leaves that are nearer to a merge come from it."""
        moved, inner = list[Descent](), {edge.parent for edge in grown}
        for edge in grown:
            far = {kin.other: kin.distance for kin in self._kin[edge.child]}
            near = [
                kin
                for kin in self._kin[edge.child]
                if kin.other in self._merges
                and not kin.is_child
                and kin.distance < far[edge.parent]
                and edge.child not in self._ancestors(kin.other)
            ]
            if edge.child in inner or not near:
                moved.append(edge)
            else:
                moved.append(_edge(min(near, key=lambda k: k.distance), edge.child, False))
        return moved


def centre(names: Sequence[str], distances: Mapping[tuple[str, str], float]) -> str:
    """The model with the shortest ways to all others along the tree of smallest distances.

    Args:
        names: At least one.
        distances: Of both orders of each pair that is related.
    """
    paths = {(name, name): 0.0 for name in names}
    inside, outside = [names[0]], list(names[1:])
    while outside:
        _, near, name = min(
            (distances.get((a, b), 2 * _FAR), a, b) for a in inside for b in outside
        )
        step = distances.get((near, name), 2 * _FAR)
        for other in inside:
            paths[other, name] = paths[name, other] = paths[other, near] + step
        inside.append(name)
        outside.remove(name)
    order = {name: at for at, name in enumerate(names)}
    return min(names, key=lambda a: (sum(paths[a, b] for b in names), order[a]))


def _edge(kin: _Kin, child: str, directed: bool) -> Descent:
    known = kin.relation
    return Descent(
        parent=kin.other,
        child=child,
        relation=known.relation,
        probability=known.probability,
        directed=directed,
        reason=known.reason,
    )


def _reached(names: set[str], edges: Sequence[Descent]) -> set[str]:
    """Some models and all that comes from them."""
    reached = set(names)
    while True:
        fresh = {edge.child for edge in edges if edge.parent in reached} - reached
        if not fresh:
            return reached
        reached |= fresh


def _ordered(
    members: Sequence[str], roots: Sequence[str], edges: Sequence[Descent]
) -> tuple[str, ...]:
    """Roots first, then children, each after its parents."""
    waiting = {name: {edge.parent for edge in edges if edge.child == name} for name in members}
    ordered = list[str]()
    while waiting:
        ready = [name for name in waiting if not waiting[name] - set(ordered)]
        # A circle of merges, which sums of each other could make.
        ready = ready or [next(iter(waiting))]
        ready.sort(key=lambda name: (name not in roots, members.index(name)))
        ordered.append(ready[0])
        del waiting[ready[0]]
    return tuple(ordered)
