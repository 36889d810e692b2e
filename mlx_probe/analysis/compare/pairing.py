"""Which weight of A belongs to which of B: by name, by role, or by an adapter's targets."""

from __future__ import annotations

from collections import Counter

from mlx_probe.analysis.compare.adapter_pairing import pair_adapter
from mlx_probe.analysis.compare.matching import Named, match_tensors
from mlx_probe.analysis.compare.pair import Pair, interleaved_rows, role_key, shape_text, unreadable
from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.core.errors import ConfigError

__all__ = ["pair_checkpoints"]


def pair_checkpoints(a: Checkpoint, b: Checkpoint) -> tuple[Pair, ...]:
    """Pair every weight of A and of B by name, then by role: see `match_tensors`.

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
    matches = match_tensors([*map(_named, weights)], [*map(_named, others)])
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


def _named(weight: Weight) -> Named:
    label = weight.name, weight.stack_index, weight.part.name if weight.part else None
    return Named(weight.name, label, role_key(weight), weight.role.block_type)


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
