"""Which weights an adapter changes, and by which of its factors."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_probe.analysis.compare.adapted import Factors
from mlx_probe.analysis.compare.pair import Pair, interleaved_rows, role_key, shape_text, unreadable
from mlx_probe.checkpoint import Adapter, Checkpoint, Weight
from mlx_probe.checkpoint.adapter import PEFT_PREFIX
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.naming.rules import PIECES

__all__ = ["pair_adapter"]

_FACTORS = ("lora_a", "lora_b", "dora_magnitude")
# Status and reason of a pair that has to be read.
_UNKNOWN: tuple[None, None] = (None, None)


@dataclass
class _Module:
    """What an adapter stores for one module of the base.

    Attributes:
        name: Name of the module in the base.
        factors: Block type of `_FACTORS` to weight.
        others: What it stores besides.
    """

    name: str
    factors: dict[str, Weight] = field(default_factory=dict)
    others: list[Weight] = field(default_factory=list)


def pair_adapter(base: Checkpoint, tuned: Checkpoint) -> tuple[Pair, ...]:
    """Pair a base's weights with the factors that change them.

    A module's weight is identified by its name, or by its role. Weights that PEFT stores whole
    (modules_to_save, trained biases) are paired like those of two models.

    Args:
        base: The model.
        tuned: The adapter.

    Returns:
        Pairs in the order of the base's weights, matched by "adapter" if the adapter stores
        nothing for them; then weights of the adapter without a counterpart in the base.
    """
    adapter = tuned.adapter
    assert adapter is not None
    weights = base.weights()
    index = _Index(weights)
    modules, stored = _modules(tuned)
    pairs: dict[int, Pair] = {}
    rest: list[Pair] = []
    for module in modules:
        changed = index.find(f"{module.name}.weight")
        if changed is None:
            reason = f"the base has no weight of {module.name}"
            leftover = [*module.factors.values(), *module.others]
            rest += [Pair(None, each, status="only_b", reason=reason) for each in leftover]
            continue
        interleaved = interleaved_rows(weights[changed], base, tuned)
        pairs[changed] = _changed(weights[changed], module, interleaved, adapter, tuned.config)
        reason = "a bias that the adapter adds beside its factors"
        rest += [Pair(None, each, status="only_b", reason=reason) for each in module.others]
    for weight in stored:
        i = index.find(weight.name.removeprefix(PEFT_PREFIX))
        if i is None or i in pairs:
            reason = "the base has no tensor of this name or role"
            rest.append(Pair(None, weight, status="only_b", reason=reason))
        else:
            interleaved = interleaved_rows(weights[i], base, tuned)
            pairs[i] = _stored_whole(weights[i], weight, interleaved)
    fused = {weights[i].label for i in pairs if weights[i].part is None}
    cut = {weights[i].name for i in pairs if weights[i].part is not None}
    for i, weight in enumerate(weights):
        if i not in pairs:
            pairs[i] = _unchanged(weight, weight.name in cut, _whole_label(weight) in fused)
    return (*(pairs[i] for i in range(len(weights))), *rest)


class _Index:
    """Positions of a base's weights by name, or by role where only one weight has it."""

    def __init__(self, weights: tuple[Weight, ...]) -> None:
        plain = [i for i, weight in enumerate(weights) if weight.stack_index is None]
        self._names = {weights[i].name: i for i in reversed(plain) if weights[i].part is None}
        self._roles: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for i in plain:
            self._roles[role_key(weights[i])].append(i)

    def find(self, name: str) -> int | None:
        """The position of the weight with this name or role; None if there is not exactly one."""
        if name in self._names:
            return self._names[name]
        role = classify(name)
        key = (role.layer_index, role.component, role.block_type, role.expert_index)
        candidates = self._roles.get((*key, name.endswith("bias")), [])
        return candidates[0] if len(candidates) == 1 and role.block_type != "other" else None


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
        match = next(m for p in patterns if (m := re.search(p, weight.name)) is not None)
        name = weight.name[: match.start()].removeprefix(PEFT_PREFIX)
        module = modules.setdefault(name, _Module(name))
        if weight.name.endswith("bias") or block_type in module.factors:
            module.others.append(weight)
        else:
            module.factors[block_type] = weight
    return list(modules.values()), stored


def _changed(
    weight: Weight, module: _Module, interleaved: int, adapter: Adapter, config: Mapping[str, Any]
) -> Pair:
    """The pair of a weight with the factors of its module."""

    def without_numbers(status: str, reason: str) -> Pair:
        return Pair(weight, left, "adapter", status, reason, interleaved_a=interleaved)

    left, right = module.factors.get("lora_b"), module.factors.get("lora_a")
    if left is None or right is None:
        return without_numbers("skipped", "the adapter stores one of two factors")
    why = unreadable(weight, interleaved) or unreadable(left, 0) or unreadable(right, 0)
    if why is not None:
        return without_numbers(*why)
    if (
        weight.rows is None
        or left.rows is None
        or right.rows is None
        or left.stack_index is not None
    ):
        return without_numbers("skipped", "factors of stacked experts are not compared")
    scale = _scale(module.name, right, adapter, config)
    if scale is None:
        return without_numbers(
            "skipped", "adapter_config.json does not give the scale of the factors"
        )
    magnitude = module.factors.get("dora_magnitude")
    candidates = _orientations(weight, left, right, scale, magnitude, adapter.layout, config)
    shape = (weight.rows, weight.cols)
    for factors in candidates:
        rows, rank, other_rank, cols = factors.shape
        if (rows, cols) == shape and rank == other_rank:
            break
    else:
        rows, _, _, cols = candidates[0].shape
        reason = f"{shape_text(weight.shape)} in A, factors for {rows} x {cols} in B"
        return without_numbers("reshaped", reason)
    if magnitude is not None and (weight.part or magnitude.numel != rows):
        return without_numbers("skipped", "DoRA's norms do not fit the rows of the weight")
    return Pair(weight, left, "adapter", interleaved_a=interleaved, factors=factors)


def _orientations(
    weight: Weight,
    left: Weight,
    right: Weight,
    scale: float,
    magnitude: Weight | None,
    layout: str,
    config: Mapping[str, Any],
) -> list[Factors]:
    """The products that the factors may stand for, (out, in) each, the usual one first.

    PEFT: B A of (out, r) and (r, in); its embeddings (A.T) (B.T) of (r, tokens) and (width, r);
    mlx-lm: (b.T) (a.T) of (r, out) and (in, r); its embeddings a b of (tokens, r) and (r, width).
    GPT-2's Conv1D, which PEFT marks by fan_in_fan_out, stores (in, out).
    """
    plain = Factors(left, right, scale, False, False, magnitude)
    swapped = Factors(right, left, scale, False, False, magnitude)
    transposed = Factors(left, right, scale, True, True, magnitude)
    swapped_transposed = Factors(right, left, scale, True, True, magnitude)
    if layout == "peft":
        embedding = "lora_embedding_" in right.name
        conv1d = config.get("fan_in_fan_out") is True
        return [swapped_transposed] if embedding or conv1d else [plain, swapped_transposed]
    embedding = "embedding" in weight.role.block_type
    return [swapped, transposed] if embedding else [transposed, swapped]


def _scale(module: str, right: Weight, adapter: Adapter, config: Mapping[str, Any]) -> float | None:
    """The module's own scale: PEFT may give some modules other ranks and alphas."""
    if adapter.layout != "peft":
        return adapter.scale
    alpha = adapter.alpha
    patterns = config.get("alpha_pattern")
    if isinstance(patterns, Mapping):
        for name, value in patterns.items():
            # Whole segments, as PEFT matches them; only names, not its regular expressions.
            if isinstance(value, int | float) and f".{module}".endswith(f".{name}"):
                alpha = float(value)
    rank = right.rows
    if alpha is None or not rank or not math.isfinite(alpha):
        return None
    return alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)


def _stored_whole(a: Weight, b: Weight, interleaved: int) -> Pair:
    if a.shape != b.shape or a.rows != b.rows:
        reason = f"{shape_text(a.shape)} in A, {shape_text(b.shape)} in B"
        return Pair(a, b, "name", "reshaped", reason)
    known = unreadable(a, interleaved) or unreadable(b, 0) or _UNKNOWN
    return Pair(a, b, "name", known[0], known[1], interleaved_a=interleaved)


def _unchanged(weight: Weight, cut: bool, fused: bool) -> Pair:
    if cut and weight.part is None:
        reason = "the adapter changes a part of it: see the row of the part"
        return Pair(weight, None, "adapter", "skipped", reason)
    if fused and weight.part is not None:
        reason = "the adapter changes the whole matrix: see its row"
        return Pair(weight, None, "adapter", "skipped", reason)
    known = unreadable(weight, 0) or _UNKNOWN
    return Pair(weight, None, "adapter", *known)


def _whole_label(weight: Weight) -> str:
    expert = "" if weight.stack_index is None else f"[{weight.stack_index}]"
    return weight.name + expert
