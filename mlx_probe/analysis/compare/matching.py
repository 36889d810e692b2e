"""Which tensor of A belongs to which of B, by name and by role; needs their names alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Named", "match_tensors"]

# A layer's norms share one role. GGUF's names for them, and the names in transformers: the first
# one that the other model has is the counterpart.
_NORMS = {
    "attn_norm": ("input_layernorm", "ln_1", "norm1"),
    "post_attention_norm": ("post_attention_layernorm",),
    "ffn_norm": ("pre_feedforward_layernorm", "post_attention_layernorm", "ln_2", "norm2"),
    "post_ffw_norm": ("post_feedforward_layernorm",),
    "attn_q_norm": ("q_norm", "q_layernorm"),
    "attn_k_norm": ("k_norm", "k_layernorm"),
}


@dataclass(frozen=True, slots=True)  # a large model has hundreds of thousands
class Named:
    """What identifies a tensor in its model, and what it does there.

    Attributes:
        name: Name in the file.
        label: Equal for the same tensor of two models: name, place in a stack, part.
        role: Equal for one role: layer, component, block type, expert, whether it is a bias.
        block_type: What it is; "other" if unknown.
    """

    name: str
    label: tuple[object, ...]
    role: tuple[object, ...]
    block_type: str

    @property
    def module(self) -> str:
        """The last module: ``input_layernorm`` of ``layers.0.input_layernorm.weight``."""
        parts = self.name.split(".")
        return parts[-2] if len(parts) > 1 and parts[-1] in ("weight", "bias") else parts[-1]


def match_tensors(ours: Sequence[Named], theirs: Sequence[Named]) -> dict[int, tuple[int, str]]:
    """Pair tensors of two models.

    Tensors with equal labels are paired first. Then those whose role only one tensor has in each
    model; in this way a part of a fused matrix is paired with the separate matrix of the other
    model. Norms of one layer share a role; the names of their modules distinguish them.

    Args:
        ours: The tensors of A.
        theirs: The tensors of B.

    Returns:
        Position in A to the position in B, and what it was matched by: "name" or "role".
    """
    labels = {other.label: j for j, other in enumerate(theirs)}
    matches = {i: (labels[one.label], "name") for i, one in enumerate(ours) if one.label in labels}
    taken = {j for j, _ in matches.values()}
    groups: dict[tuple[object, ...], tuple[list[int], list[int]]]
    groups = defaultdict(lambda: ([], []))
    for i, one in enumerate(ours):
        if i not in matches:
            groups[one.role][0].append(i)
    for j, other in enumerate(theirs):
        if j not in taken:
            groups[other.role][1].append(j)
    for of_ours, of_theirs in groups.values():
        block_type = (ours[of_ours[0]] if of_ours else theirs[of_theirs[0]]).block_type
        if block_type == "other":
            continue
        if len(of_ours) == len(of_theirs) == 1:
            same = [(of_ours[0], of_theirs[0])]
        else:
            same = _same_modules(_by_module(ours, of_ours), _by_module(theirs, of_theirs))
        matches.update((i, (j, "role")) for i, j in same)
    return matches


def _by_module(tensors: Sequence[Named], positions: Sequence[int]) -> dict[str, int]:
    """Positions by the last module's name, where only one tensor has it."""
    names = Counter(tensors[i].module for i in positions)
    return {tensors[i].module: i for i in positions if names[tensors[i].module] == 1}


def _same_modules(ours: dict[str, int], theirs: dict[str, int]) -> list[tuple[int, int]]:
    """Positions of modules of one role, matched by the modules' own names."""
    same = [(ours.pop(name), theirs.pop(name)) for name in list(ours) if name in theirs]
    for gguf, names in _NORMS.items():
        if gguf in ours:
            name = next((name for name in names if name in theirs), None)
            if name is not None:
                same.append((ours.pop(gguf), theirs.pop(name)))
        elif gguf in theirs:
            name = next((name for name in names if name in ours), None)
            if name is not None:
                same.append((ours.pop(name), theirs.pop(gguf)))
    return same
