"""Which weights an adapter changes, and by which of its factors."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_probe.analysis.compare.adapted import Factors
from mlx_probe.analysis.compare.pair import Pair, role_key, rotary_turn, shape_text, unreadable
from mlx_probe.checkpoint import Adapter, Checkpoint, Weight
from mlx_probe.checkpoint.adapter import PEFT_PREFIX
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.naming.rules import PIECES

__all__ = ["pair_adapter"]

_FACTORS = ("lora_a", "lora_b", "dora_magnitude")
# Status and reason of what has to be read.
_FINE: tuple[None, None] = (None, None)


@dataclass
class _Module:
    """What an adapter stores for one module of the base, by block type."""

    owner: str
    pieces: dict[str, Weight] = field(default_factory=dict)
    others: list[Weight] = field(default_factory=list)


def pair_adapter(base: Checkpoint, tuned: Checkpoint) -> tuple[Pair, ...]:
    """Pair a base's weights with the factors that change them.

    A module's weight is found by its name, or by its role. Weights that PEFT stores whole
    (modules_to_save, trained biases) are paired as two models' are.

    Args:
        base: The model.
        tuned: The adapter.

    Returns:
        Pairs in the order of the base's weights: by "adapter" where the adapter stores nothing
        for it; then what the adapter stores and the base has no place for.
    """
    adapter = tuned.adapter
    assert adapter is not None
    weights = base.weights()
    index = _Index(weights)
    modules, stored = _modules(tuned)
    pairs: dict[int, Pair] = {}
    rest: list[Pair] = []
    for module in modules:
        changed = index.find(f"{module.owner}.weight")
        if changed is None:
            reason = f"the base has no weight of {module.owner}"
            leftover = [*module.pieces.values(), *module.others]
            rest += [Pair(None, piece, status="only_b", reason=reason) for piece in leftover]
            continue
        turn = rotary_turn(weights[changed], base, tuned)
        pairs[changed] = _changed(weights[changed], module, turn, adapter, tuned.config)
        reason = "a bias that the adapter adds beside its factors"
        rest += [Pair(None, piece, status="only_b", reason=reason) for piece in module.others]
    for weight in stored:
        found = index.find(weight.name.removeprefix(PEFT_PREFIX))
        if found is None or found in pairs:
            reason = "the base has no tensor of this name or role"
            rest.append(Pair(None, weight, status="only_b", reason=reason))
        else:
            turn = rotary_turn(weights[found], base, tuned)
            pairs[found] = _stored_whole(weights[found], weight, turn)
    fused = {weights[i].label for i in pairs if weights[i].part is None}
    cut = {weights[i].name for i in pairs if weights[i].part is not None}
    for i, weight in enumerate(weights):
        if i not in pairs:
            pairs[i] = _untouched(weight, weight.name in cut, _whole_label(weight) in fused)
    return (*(pairs[i] for i in range(len(weights))), *rest)


class _Index:
    """Finds a base's weights by name, or by role where one alone has it."""

    def __init__(self, weights: tuple[Weight, ...]) -> None:
        plain = [i for i, weight in enumerate(weights) if weight.stack_index is None]
        self._names = {weights[i].name: i for i in reversed(plain) if weights[i].part is None}
        self._roles: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for i in plain:
            self._roles[role_key(weights[i])].append(i)

    def find(self, name: str) -> int | None:
        if name in self._names:
            return self._names[name]
        role = classify(name)
        key = (role.layer_index, role.component, role.block_type, role.expert_index)
        alike = self._roles.get((*key, name.endswith("bias")), [])
        return alike[0] if len(alike) == 1 and role.block_type != "other" else None


def _modules(tuned: Checkpoint) -> tuple[list[_Module], list[Weight]]:
    """The modules that have factors, and what the adapter stores besides."""
    modules: dict[str, _Module] = {}
    stored = []
    for weight in tuned.weights():
        block_type = weight.role.block_type
        if block_type not in _FACTORS:
            stored.append(weight)
            continue
        patterns = (piece.pattern for piece in PIECES if piece.block_type == block_type)
        match = next(found for p in patterns if (found := re.search(p, weight.name)) is not None)
        owner = weight.name[: match.start()].removeprefix(PEFT_PREFIX)
        module = modules.setdefault(owner, _Module(owner))
        if weight.name.endswith("bias") or block_type in module.pieces:
            module.others.append(weight)
        else:
            module.pieces[block_type] = weight
    return list(modules.values()), stored


def _changed(
    weight: Weight, module: _Module, turn: int, adapter: Adapter, config: Mapping[str, Any]
) -> Pair:
    """The pair of a weight with the factors of its module."""

    def settled(status: str, reason: str) -> Pair:
        return Pair(weight, left, "adapter", status, reason, turn_a=turn)

    left, right = module.pieces.get("lora_b"), module.pieces.get("lora_a")
    if left is None or right is None:
        return settled("skipped", "the adapter stores one of two factors")
    why = unreadable(weight, turn) or unreadable(left, 0) or unreadable(right, 0)
    if why is not None:
        return settled(*why)
    if (
        weight.rows is None
        or left.rows is None
        or right.rows is None
        or left.stack_index is not None
    ):
        return settled("skipped", "factors of stacked experts are not compared")
    scale = _scale(module.owner, right, adapter, config)
    if scale is None:
        return settled("skipped", "adapter_config.json does not tell the scale of the factors")
    magnitude = module.pieces.get("dora_magnitude")
    candidates = _orientations(weight, left, right, scale, magnitude, adapter.layout, config)
    shape = (weight.rows, weight.cols)
    for factors in candidates:
        rows, rank, other_rank, cols = factors.shape
        if (rows, cols) == shape and rank == other_rank:
            break
    else:
        rows, _, _, cols = candidates[0].shape
        reason = f"{shape_text(weight.shape)} in A, factors for {rows} x {cols} in B"
        return settled("reshaped", reason)
    if magnitude is not None and (weight.part or magnitude.numel != rows):
        return settled("skipped", "DoRA's norms do not fit the rows of the weight")
    return Pair(weight, left, "adapter", turn_a=turn, factors=factors)


def _orientations(
    weight: Weight,
    left: Weight,
    right: Weight,
    scale: float,
    magnitude: Weight | None,
    layout: str,
    config: Mapping[str, Any],
) -> list[Factors]:
    """How factors may make up a difference of (out, in), the usual way first.

    PEFT: B A of (out, r) and (r, in); its embeddings (A.T) (B.T) of (r, tokens) and (width, r);
    mlx-lm: (b.T) (a.T) of (r, out) and (in, r); its embeddings a b of (tokens, r) and (r, width).
    GPT-2's Conv1D, which PEFT marks by fan_in_fan_out, stores (in, out).
    """
    straight = Factors(left, right, scale, False, False, magnitude)
    swapped = Factors(right, left, scale, False, False, magnitude)
    both_turned = Factors(left, right, scale, True, True, magnitude)
    swapped_turned = Factors(right, left, scale, True, True, magnitude)
    if layout == "peft":
        embedding = "lora_embedding_" in right.name
        turned = config.get("fan_in_fan_out") is True
        return [swapped_turned] if embedding or turned else [straight, swapped_turned]
    embedding = "embedding" in weight.role.block_type
    return [swapped, both_turned] if embedding else [both_turned, swapped]


def _scale(owner: str, right: Weight, adapter: Adapter, config: Mapping[str, Any]) -> float | None:
    """The module's own scale: PEFT may give modules other ranks and alphas than the rest."""
    if adapter.layout != "peft":
        return adapter.scale
    alpha = adapter.alpha
    patterns = config.get("alpha_pattern")
    if isinstance(patterns, Mapping):
        for name, value in patterns.items():
            # Whole segments, as PEFT matches them; names in place of its regular expressions.
            if isinstance(value, int | float) and f".{owner}".endswith(f".{name}"):
                alpha = float(value)
    rank = right.rows
    if alpha is None or not rank or not math.isfinite(alpha):
        return None
    return alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)


def _stored_whole(a: Weight, b: Weight, turn: int) -> Pair:
    if a.shape != b.shape or a.rows != b.rows:
        reason = f"{shape_text(a.shape)} in A, {shape_text(b.shape)} in B"
        return Pair(a, b, "name", "reshaped", reason)
    known = unreadable(a, turn) or unreadable(b, 0) or _FINE
    return Pair(a, b, "name", known[0], known[1], turn_a=turn)


def _untouched(weight: Weight, cut: bool, fused: bool) -> Pair:
    if cut and weight.part is None:
        reason = "the adapter changes a part of it, which has a row of its own"
        return Pair(weight, None, "adapter", "skipped", reason)
    if fused and weight.part is not None:
        reason = "the adapter changes the whole of which it is a part: see its row"
        return Pair(weight, None, "adapter", "skipped", reason)
    known = unreadable(weight, 0) or _FINE
    return Pair(weight, None, "adapter", *known)


def _whole_label(weight: Weight) -> str:
    expert = "" if weight.stack_index is None else f"[{weight.stack_index}]"
    return weight.name + expert
