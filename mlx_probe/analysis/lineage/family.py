"""How several models are related: every pair, merges of each other, and what comes from what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from mlx_probe.analysis.lineage.family_merges import find_merges
from mlx_probe.analysis.lineage.family_records import Family, Member
from mlx_probe.analysis.lineage.family_tree import distance, trees_of
from mlx_probe.analysis.lineage.relate import relate
from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint
    from mlx_probe.analysis.lineage.merge_records import MergeWeights
    from mlx_probe.analysis.lineage.records import Relation

__all__ = ["family_of"]

# Relations that a parent of a merge can have to it: a copy, a quantization or a pruned model is
# explained already.
_PARENTS = ("merge", "finetune", "lora")


def family_of(
    prints: Sequence[Fingerprint],
    left_out: Mapping[str, str] | None = None,
    done: Callable[[int, int], None] | None = None,
    known: Mapping[tuple[str, str], Relation] | None = None,
) -> Family:
    """Relate several models to each other.

    Args:
        prints: At least two, sampled with the same settings.
        left_out: Models that could not be read, with the reason.
        done: Called after each pair, with the number of pairs so far and of all.
        known: Relations that need not be measured again, by the names of A and B.

    Raises:
        ConfigError: There are fewer than two, or they were sampled with different settings.
    """
    if len(prints) < 2:
        raise ConfigError("a family has at least two models", "Name the other ones, too")
    named = {each.model: each for each in _with_names(prints)}
    pairs, relations = list(combinations(named.values(), 2)), list["Relation"]()
    for number, (a, b) in enumerate(pairs, start=1):
        earlier = (known or {}).get((a.model, b.model))
        relations.append(relate(a, b) if earlier is None else earlier)
        if done is not None:
            done(number, len(pairs))
    merges = find_merges(named, _candidates(list(named), relations))
    relations = [_with_merge(relation, merges) for relation in relations]
    return Family(
        members=tuple(_member(each) for each in named.values()),
        relations=tuple(relations),
        merges=tuple(merges),
        trees=trees_of(list(named), relations, merges),
        left_out=left_out or {},
    )


def _with_names(prints: Sequence[Fingerprint]) -> list[Fingerprint]:
    """Models of one name are called by their paths."""
    names = [each.model for each in prints]
    paths = [each.path for each in prints]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is named twice", "Name each model once")
    return [
        each if names.count(each.model) == 1 else replace(each, model=each.path) for each in prints
    ]


def _with_merge(relation: Relation, merges: Sequence[MergeWeights]) -> Relation:
    """A pair of a merge and one of its parents, which two models alone do not tell."""
    for merge in merges:
        for parent, child, side in ((relation.a, relation.b, "a"), (relation.b, relation.a, "b")):
            if merge.child == child and parent in merge.parents:
                return replace(
                    relation,
                    relation="merge",
                    probability=merge.probability,
                    parent="a" if side == "a" else "b",
                    reason=merge.why[0],
                    note="",
                )
    return relation


def _candidates(names: Sequence[str], relations: Sequence[Relation]) -> dict[str, tuple[str, ...]]:
    """For each model the related ones that a merge could be made of, the nearest first."""
    near: dict[str, list[tuple[float, str]]] = {name: [] for name in names}
    for relation in relations:
        if relation.relation in _PARENTS:
            far = distance(relation)
            near[relation.a].append((far, relation.b))
            near[relation.b].append((far, relation.a))
    return {name: tuple(other for _, other in sorted(near[name])) for name in names}


def _member(each: Fingerprint) -> Member:
    return Member(each.model, each.path, each.parameters, each.layers, each.total_bytes)
