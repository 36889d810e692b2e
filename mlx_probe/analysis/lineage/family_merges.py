"""Which of several models is a merge of which others: every small set of candidates is tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from mlx_probe.analysis.lineage.merge_fit import Model, fit_tensor
from mlx_probe.analysis.lineage.merge_matching import merge_samples
from mlx_probe.analysis.lineage.merge_weights import is_rounding, merge_weights

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint
    from mlx_probe.analysis.lineage.merge_records import MergeWeights

__all__ = ["find_merges"]

# Candidates of one model, the nearest ones; sets of two and three of them are tried.
_MOST, _SIZES = 8, (2, 3)
# A set is tried on so many tensors, and on so many elements of each, before all are.
_TENSORS, _ELEMENTS = 6, 1 << 12
# How far a weight may be outside of 0 to 1. A merge's parents are sums of it and of each other,
# with a weight below 0; those of task arithmetic add up to more than 1, and the base has the rest.
_OUTSIDE = 0.02


def find_merges(
    prints: Mapping[str, Fingerprint], nearest: Mapping[str, Sequence[str]]
) -> list[MergeWeights]:
    """Models that are merges of others.

    Args:
        prints: All models by name.
        nearest: For each model the related ones that it may be a merge of, the nearest first.

    Returns:
        For each child at most one merge, of as few parents as explain it; in the order of
        ``prints``. Of models that are sums of each other, the child is the one whose weights are
        between 0 and 1, or else the one that rounding explains best.
    """
    found: dict[str, MergeWeights] = {}
    for name in prints:
        merge = _merge_of(prints, name, nearest[name][:_MOST])
        if merge is not None:
            found[name] = merge
    return [merge for name, merge in found.items() if not _is_turned(merge, found)]


def _merge_of(
    prints: Mapping[str, Fingerprint], child: str, candidates: Sequence[str]
) -> MergeWeights | None:
    """The merge of the fewest candidates that is one, with the smallest residual."""
    for size in _SIZES:
        merges = []
        for names in combinations(candidates, size):
            if _may_be(prints, child, names):
                merge = merge_weights(prints[child], [prints[name] for name in names])
                if merge.is_merge and len(_taking(merge)) == size:
                    merges.append(merge)
        if merges:
            # Weights between 0 and 1 first.
            return min(merges, key=lambda m: (_outside(m) > _OUTSIDE, m.residual))
    return None


def _may_be(prints: Mapping[str, Fingerprint], child: str, names: Sequence[str]) -> bool:
    """Whether the largest tensors, in part, are weighted sums of the candidates' tensors."""
    free = Model(0, True, len(names))
    largest = sorted(prints[child].sampled, key=lambda each: -each.values.size)
    for tensor in largest[: 4 * _TENSORS : 4]:
        role = tensor.named.role
        parents = [_only(prints[name], role) for name in names]
        for each in merge_samples(_only(prints[child], role), parents).tensors:
            part = replace(
                each,
                child=each.child[:_ELEMENTS],
                parents=tuple(parent[:_ELEMENTS] for parent in each.parents),
            )
            fit = fit_tensor(part, free)
            if fit is not None and not is_rounding(fit):
                return False
    return True


def _only(model: Fingerprint, role: tuple[object, ...]) -> Fingerprint:
    chosen = tuple(each for each in model.sampled if each.named.role == role)
    return replace(model, sampled=chosen, left_out={})


def _taking(merge: MergeWeights) -> list[str]:
    """Parents that have a weight somewhere."""
    groups = [group.parts for group in merge.groups] or [merge.parts]
    return [
        merge.parents[i]
        for i in range(len(merge.parents))
        if any(abs(parts[i].weight) > max(0.01, 4 * parts[i].error) for parts in groups)
    ]


def _outside(merge: MergeWeights) -> float:
    """How far a weight is outside of 0 to 1, at most."""
    parts = merge.parts or [part for group in merge.groups for part in group.parts]
    return max((max(-part.weight, part.weight - 1) for part in parts), default=0.0)


def _is_turned(merge: MergeWeights, found: Mapping[str, MergeWeights]) -> bool:
    """Whether the child is a parent in truth, and one of its parents the child."""
    everyone = {merge.child, *merge.parents}
    for other in found.values():
        if other.child != merge.child and {other.child, *other.parents} == everyone:
            ours, theirs = (
                (_outside(each) > _OUTSIDE, each.residual or 0.0, each.child)
                for each in (merge, other)
            )
            if theirs < ours:
                return True
    return False
