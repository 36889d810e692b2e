"""Which relation two related models have: rules, in order, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlx_probe.analysis.lineage.storage import rounded_share, rounding_bound

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint
    from mlx_probe.analysis.lineage.hidden import ColumnMatch
    from mlx_probe.analysis.lineage.measure import PairNumbers
    from mlx_probe.analysis.lineage.records import RelationName
    from mlx_probe.analysis.lineage.storage import Coarseness

__all__ = ["Decision", "decide"]

Side = Literal["a", "b"]

# Share of zeros that one model has and the other has not, from which it is pruned.
_ZEROS = 0.05
# Below so many stored bits of the other, one is coarser.
_COARSER = 0.8
# Share of elements that a cast of the finer model gives exactly.
_CAST = 0.98
# Stored bits of an element, scales included, up to which a matrix is quantized.
_PACKED_BITS = 10
_EXACT = 0.99
# Of the columns of the smaller model, the cosine from which they are taken from the larger.
_SUBSET = 0.8


@dataclass(frozen=True)
class Decision:
    """A relation of two models that are taken to be related.

    Attributes:
        relation: One of `RELATIONS`, not "unrelated".
        rule: Which rule named it, a key of the calibration.
        parent: Which one is the origin, if the rule tells.
        reason: Why, a sentence.
        note: What else is to be known.
    """

    relation: RelationName
    rule: str
    parent: Side | None = None
    reason: str = ""
    note: str = ""


def decide(a: Fingerprint, b: Fingerprint, numbers: PairNumbers) -> Decision:
    """Name the relation of two models that are taken to be related.

    Args:
        a: The first.
        b: The second.
        numbers: Of `measure_pair`.
    """
    for rule in _RULES:
        decision = rule(a, b, numbers)
        if decision is not None:
            return decision
    return Decision("finetune", "finetune", note=_siblings(numbers))


def _same(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    if n.all_identical:
        return Decision("same", "same", reason="every value that was compared is equal")
    return None


def _permuted(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    """Equal weights with channels in another order."""
    moved = {kind: match for kind, match in n.columns.items() if _has_moved(match)}
    if not moved or n.shapes_differ:
        return None
    names = " and ".join(_CHANNELS[kind] for kind in moved)
    note = f"after a permutation of the {names}"
    exact = all(match.exact > _EXACT for match in moved.values())
    rest = [e for e in n.elements if e.correlation > _DIRECT]
    if exact and all(e.identical > _EXACT for e in rest):
        return Decision("same", "permuted", reason="its columns are equal up to scale", note=note)
    return Decision("finetune", "permuted_finetune", note=note)


def _has_moved(match: ColumnMatch) -> bool:
    """Whether most columns are somewhere else, and clearly not where they were."""
    better = match.in_place is not None and match.cosine > match.in_place + 0.2
    return match.moved > 0.2 and match.excess > _DIRECT and better


def _rotated(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    """Embeddings that are equal up to a rotation, as some quantizers make them."""
    channels = n.columns.get("channels")
    elsewhere = channels is None or channels.excess < _DIRECT
    if n.gram is not None and n.gram > _EXACT and elsewhere and n.correlation < _DIRECT:
        note = "the embeddings are equal up to a rotation of the residual channels"
        return Decision("finetune", "rotated", note=note)
    return None


def _rescaled(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    """Equal weights but for a factor of each channel."""
    if n.shapes_differ or not any(e.difference > _CHANGED for e in n.elements):
        return None
    if all(e.rescaled <= max(_ROUNDED, e.difference / 20) for e in n.elements):
        note = "after factors of channels are moved between norms and matrices"
        return Decision("same", "rescaled", reason="its matrices are equal up to scale", note=note)
    return None


_DIRECT = 0.5
# Relative differences that are a change, and that rounding to 16 bits may leave.
_CHANGED, _ROUNDED = 0.02, 2e-3
_CHANNELS = {"units": "hidden units", "heads": "heads", "channels": "residual channels"}


def _quantization(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    ours, theirs = n.coarse_a, n.coarse_b
    if ours is None or theirs is None or not n.elements:
        return None
    if theirs.bits <= _COARSER * ours.bits or (theirs.is_grid and not ours.is_grid):
        fine, coarse, parent = ours, theirs, "a"
    elif ours.bits <= _COARSER * theirs.bits or (ours.is_grid and not theirs.is_grid):
        fine, coarse, parent = theirs, ours, "b"
    else:
        return None
    if _zero_gain(n) >= _ZEROS and not coarse.is_grid and coarse.bits > 8:
        return None
    difference = float(np.median([e.difference for e in n.elements]))
    bits = _bits(coarse)
    cast = _cast_share(n, coarse.form, parent == "b") if coarse.form != "F32" else 0.0
    side: Side = "a" if parent == "a" else "b"
    what = f"{coarse.bits:.1f} bits an element against {fine.bits:.1f}"
    if cast >= _CAST:
        return Decision("quantization", "cast", side, f"it is the other one rounded: {what}")
    packed = coarse.bits <= _PACKED_BITS or coarse.is_grid
    if packed and difference <= rounding_bound(bits):
        return Decision(
            "quantization", "grid", side, f"the differences are those of rounding: {what}"
        )
    return None


def _both_quantized(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    """Two quantizations of one model: neither comes from the other, or nothing shows it."""
    ours, theirs = n.coarse_a, n.coarse_b
    if ours is None or theirs is None or max(ours.bits, theirs.bits) > _PACKED_BITS:
        return None
    pairs = n.matching.matrices
    # In one format they would be equal; what differs there has been changed since.
    if 2 * sum(p.a.stored == p.b.stored for p in pairs) > len(pairs):
        return None
    bounds = [rounding_bound(_bits(each)) for each in (ours, theirs)]
    if float(np.median([e.difference for e in n.elements])) > max(bounds):
        return None
    return Decision(
        "quantization",
        "both_quantized",
        reason=f"the differences are those of rounding: {ours.bits:.1f} and {theirs.bits:.1f} bits "
        "an element",
        note="both are quantized, likely from one model",
    )


def _bits(coarse: Coarseness) -> float:
    return min(coarse.bits, 4.5) if coarse.is_grid else coarse.bits


def _cast_share(n: PairNumbers, form: str, reverse: bool) -> float:
    shares = [rounded_share(p, form, to_b=not reverse) for p in n.matching.matrices]
    return float(np.median(shares)) if shares else 0.0


def _zero_gain(n: PairNumbers) -> float:
    """Share of elements that are 0 in one model alone, in the one where there are more."""
    if not n.elements:
        return 0.0
    in_b = float(np.mean([e.new_in_b for e in n.elements]))
    in_a = float(np.mean([e.new_in_a for e in n.elements]))
    return max(in_b - in_a, in_a - in_b)


def _pruned(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    if n.elements and _zero_gain(n) >= _ZEROS:
        in_b = float(np.mean([e.new_in_b for e in n.elements]))
        in_a = float(np.mean([e.new_in_a for e in n.elements]))
        side: Side = "a" if in_b > in_a else "b"
        share = 100 * max(in_a, in_b)
        return Decision("pruning", "zeros", side, f"{share:.0f} % of its elements became 0")
    smaller = {_smaller(p.a.shape, p.b.shape) for p in n.shapes_differ if not p.a.is_token_table}
    if smaller in ({"a"}, {"b"}):
        found = [m for m in n.columns.values() if m.columns_a != m.columns_b]
        side = "b" if smaller == {"a"} else "a"
        known = all(
            m.excess > _SUBSET
            for m in found
            if _smaller((m.columns_a,), (m.columns_b,)) == ("b" if side == "a" else "a")
        )
        reason = "its matrices are smaller"
        if found and side == "a" and known:
            reason = "its channels are some of the other one's"
        return Decision("pruning", "shapes", side, reason)
    return None


def _smaller(a: Sequence[int], b: Sequence[int]) -> str:
    if len(a) == len(b) and all(x <= y for x, y in zip(a, b, strict=True)):
        return "a"
    if len(a) == len(b) and all(x >= y for x, y in zip(a, b, strict=True)):
        return "b"
    return "neither"


def _layers_changed(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    if a.layers == b.layers or not n.elements:
        return None
    deeper: Side = "a" if a.layers > b.layers else "b"
    if n.stacked:
        other: Side = "b" if deeper == "a" else "a"
        return Decision(
            "merge", "stacked", other, "layers of it stand twice or more in the other one"
        )
    return Decision("pruning", "layers", deeper, f"it has {abs(a.layers - b.layers)} layers less")


def _lora(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    if not n.ranks or not all(rank.is_low or rank.rank == 0 for rank in n.ranks):
        return None
    low = [rank for rank in n.ranks if rank.is_low]
    if not low or max(rank.contrast for rank in low) < 2:
        return None
    # Norms and embeddings are not adapted, or hardly ever.
    if n.vectors_identical is not None and n.vectors_identical < 0.9:
        return None
    return Decision("lora", "low_rank")


def _merge(a: Fingerprint, b: Fingerprint, n: PairNumbers) -> Decision | None:
    for side, model in (("a", b), ("b", a)):
        if _says_merge(model.card):
            parent: Side | None = "a" if side == "a" else "b"
            return Decision(
                "merge", "card", parent, "its model card says that it is a merge of models"
            )
    return None


def _says_merge(card: Mapping[str, Any]) -> bool:
    tags = card.get("tags")
    words = {str(tag).lower() for tag in tags} if isinstance(tags, list) else set()
    return bool(words & {"merge", "mergekit", "moerge", "lazymergekit"}) or bool(
        card.get("mergekit")
    )


def _siblings(n: PairNumbers) -> str:
    return "one may be tuned from the other, or both from a third model" if n.elements else ""


# In order: the first that applies names the relation.
_RULES = (
    _same,
    _lora,
    _both_quantized,
    _quantization,
    _pruned,
    _layers_changed,
    _permuted,
    _rotated,
    _rescaled,
    _merge,
)
