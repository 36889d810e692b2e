"""Which weight of A belongs to which of B: by name, by role, or by an adapter's targets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from mlx_probe.analysis.compare.adapter_pairing import pair_adapter
from mlx_probe.analysis.compare.pair import Pair, interleaved_rows, role_key, shape_text, unreadable
from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.core.errors import ConfigError

__all__ = ["pair_checkpoints"]

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


def pair_checkpoints(a: Checkpoint, b: Checkpoint) -> tuple[Pair, ...]:
    """Pair every weight of A and of B.

    Weights with equal names (with expert and part) are paired first. Then those whose role only
    one weight has in each model: layer, component, block type, expert, and whether it is a bias.
    In this way a part of a fused matrix is paired with the separate matrix of the other model.
    Norms of one layer share a role; their names distinguish them.

    If B is an adapter and A is not, its factors are paired with the weights that they change,
    and every other weight of A with itself.

    Args:
        a: The first, or the base.
        b: The second, the tuned one, or an adapter.

    Returns:
        Pairs in the order of A's weights, then what only B has, in its order.

    Raises:
        ConfigError: A is an adapter and B is not.
    """
    if a.adapter is not None and b.adapter is None:
        raise ConfigError(
            f"{a.files.model_id} is an adapter, and {b.files.model_id} is a model",
            "Name the base first: compare BASE ADAPTER",
        )
    if b.adapter is not None and a.adapter is None:
        return pair_adapter(a, b)
    weights, others = a.weights(), b.weights()
    matches = _matches(weights, others)
    taken = {index for index, _ in matches.values()}
    in_a, in_b = (Counter(map(role_key, items)) for items in (weights, others))
    pairs = []
    for i, weight in enumerate(weights):
        if i in matches:
            j, how = matches[i]
            interleaved = interleaved_rows(weight, a, b), interleaved_rows(others[j], b, a)
            pairs.append(_pair(weight, others[j], how, interleaved))
        else:
            reason = _no_counterpart(weight, "B", in_b[role_key(weight)])
            pairs.append(Pair(weight, None, status="only_a", reason=reason))
    for j, other in enumerate(others):
        if j not in taken:
            reason = _no_counterpart(other, "A", in_a[role_key(other)])
            pairs.append(Pair(None, other, status="only_b", reason=reason))
    return tuple(pairs)


def _matches(weights: Sequence[Weight], others: Sequence[Weight]) -> dict[int, tuple[int, str]]:
    """Position in A to the position in B, and what it was matched by."""
    labels = {_label(other): j for j, other in enumerate(others)}
    matches = {
        i: (labels[_label(weight)], "name")
        for i, weight in enumerate(weights)
        if _label(weight) in labels
    }
    taken = {j for j, _ in matches.values()}
    groups: dict[tuple[object, ...], tuple[list[int], list[int]]]
    groups = defaultdict(lambda: ([], []))
    for i, weight in enumerate(weights):
        if i not in matches:
            groups[role_key(weight)][0].append(i)
    for j, other in enumerate(others):
        if j not in taken:
            groups[role_key(other)][1].append(j)
    for ours, theirs in groups.values():
        role = (weights[ours[0]] if ours else others[theirs[0]]).role
        if role.block_type == "other":
            continue
        if len(ours) == len(theirs) == 1:
            same = [(ours[0], theirs[0])]
        else:
            same = _same_modules(_by_module(weights, ours), _by_module(others, theirs))
        matches.update((i, (j, "role")) for i, j in same)
    return matches


def _label(weight: Weight) -> tuple[object, ...]:
    return weight.name, weight.stack_index, weight.part.name if weight.part else None


def _module(weight: Weight) -> str:
    """The last module of a name: ``input_layernorm`` of ``layers.0.input_layernorm.weight``."""
    parts = weight.name.split(".")
    return parts[-2] if len(parts) > 1 and parts[-1] in ("weight", "bias") else parts[-1]


def _by_module(weights: Sequence[Weight], positions: Sequence[int]) -> dict[str, int]:
    """Positions by the last module's name, where only one weight has it."""
    names = Counter(_module(weights[i]) for i in positions)
    return {_module(weights[i]): i for i in positions if names[_module(weights[i])] == 1}


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


def _no_counterpart(weight: Weight, model: str, same_role: int) -> str:
    """Why a weight has no counterpart in the other model, which has so many of its role."""
    if weight.role.block_type == "other" or not same_role:
        return f"{model} has no tensor of this name or role"
    return f"{model} has no tensor of this name, and by role none is certain"


def _pair(a: Weight, b: Weight, how: str, interleaved: tuple[int, int]) -> Pair:
    """A pair, with its status if the headers show that it cannot be compared."""
    problem: tuple[str, str] | None = None
    if a.shape != b.shape or a.rows != b.rows:
        problem = "reshaped", f"{shape_text(a.shape)} in A, {shape_text(b.shape)} in B"
    for name, weight, rows in (("A", a, interleaved[0]), ("B", b, interleaved[1])):
        why = unreadable(weight, rows)
        # The shape of a weight that cannot be read is not certain.
        if why is not None and (problem is None or why[0] == "skipped"):
            problem = why[0], f"in {name}: {why[1]}"
            break
    status, reason = problem or (None, None)
    return Pair(a, b, how, status, reason, *interleaved)
