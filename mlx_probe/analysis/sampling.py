"""Which weights a sample measures: some of a model's layers, some of the experts of each.

Tensors outside the layers are always measured, and so is everything in a chosen layer that
belongs to no expert: attention, norms, router, shared experts. Experts are drawn for each layer
anew, because their numbers mean nothing across layers; all matrices of an expert are drawn
together. A larger sample contains a smaller one of the same seed.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.block_position import position_of
from mlx_probe.analysis.sample import Sample, parse_sample
from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.checkpoint import Weight

__all__ = ["chosen_layers", "sample_facts", "sample_text", "unsampled"]


def unsampled(weights: Sequence[Weight], sample: Sample, seed: int) -> dict[int, str]:
    """The weights that a sample leaves out, by position, and why.

    Args:
        weights: What is sampled.
        sample: The sample.
        seed: Decides which experts are measured.

    Raises:
        ConfigError: It chooses among layers or experts that there are none of, or leaves nothing
            out.
    """
    if sample == Sample():
        return {}
    positions = [position_of(weight) for weight in weights]
    _refuse_groundless(weights, sample)
    layers = chosen_layers(weights, sample)
    experts = _chosen_experts(weights, positions, layers, sample.experts, seed)
    by_layer = f"the sample {sample.text(seed)} leaves its layer out"
    by_expert = f"the sample {sample.text(seed)} leaves its expert out"
    left_out: dict[int, str] = {}
    for i, (weight, (stack, layer)) in enumerate(zip(weights, positions, strict=True)):
        group, expert = _group(weight, stack, layer), weight.expert_index
        if layer is not None and layer not in layers[stack]:
            left_out[i] = by_layer
        elif sample.experts and expert is not None and expert not in experts[group]:
            left_out[i] = by_expert
    if not left_out:
        raise ConfigError(
            f"the sample {sample} leaves out none of {len(weights)} tensors",
            "Choose fewer layers or experts, or measure everything without --sample",
        )
    return left_out


def sample_text(plan: Plan) -> str:
    """One line for the log."""
    sample, rows = parse_sample(plan.config.sample), len(plan.weights)
    return f"sample {sample.text(plan.config.seed)}: {rows - len(plan.unsampled)} of {rows} rows"


def sample_facts(plan: Plan) -> dict[str, Any] | None:
    """What a plan's sample measures, and what it leaves out; None if everything is measured.

    Returns:
        The "selection" as the option has it, and its "seed". "rows" and "bytes": how many are
        "measured", and how many are "unsampled"; parts of fused matrices are rows whose bytes do
        not count again. "stacks": of each stack of blocks its "name", the "layers" that are
        measured, how many it has ("of"), and of the "experts" of a layer, None without any, how
        many are "measured" and how many there are at most.
    """
    if not plan.unsampled:
        return None
    nbytes = sum(weight.nbytes for weight in plan.sampled if weight.part is None)
    sample, unsampled_rows = parse_sample(plan.config.sample), len(plan.unsampled)
    return {
        "selection": str(sample),
        "seed": plan.config.seed,
        "rows": {"measured": len(plan.weights) - unsampled_rows, "unsampled": unsampled_rows},
        "bytes": {"measured": nbytes, "unsampled": plan.nbytes - nbytes},
        "stacks": _stacks(plan.weights, sample),
    }


def _stacks(weights: Sequence[Weight], sample: Sample) -> list[dict[str, Any]]:
    experts: dict[str, dict[int, set[int | None]]] = defaultdict(lambda: defaultdict(set))
    for weight in weights:
        stack, layer = position_of(weight)
        if layer is not None:
            experts[stack][layer].add(weight.expert_index)
    stacks = []
    for stack, layers in chosen_layers(weights, sample).items():
        most = max(len(known - {None}) for known in experts[stack].values())
        some = {"measured": min(sample.experts or most, most), "of": most}
        stacks.append(
            {
                "name": stack,
                "layers": sorted(layers),
                "of": len(experts[stack]),
                "experts": some if most else None,
            }
        )
    return stacks


def chosen_layers(weights: Sequence[Weight], sample: Sample) -> Mapping[str, Collection[int]]:
    """The layers that a sample measures, by the stack of blocks that they are in.

    Layers of a kind, with other types of tensors than all the chosen ones, are not left out
    altogether: the first of them is added.
    """
    kinds: dict[str, dict[int, set[tuple[str, str]]]] = defaultdict(lambda: defaultdict(set))
    for weight in weights:
        stack, layer = position_of(weight)
        if layer is not None:
            kinds[stack][layer].add((weight.role.component, weight.role.block_type))
    return {stack: _of_stack(layers, sample) for stack, layers in kinds.items()}


def _of_stack(kinds: Mapping[int, set[tuple[str, str]]], sample: Sample) -> Collection[int]:
    numbers = sorted(kinds)
    if sample.every:
        chosen = {number for number in numbers if number % sample.every == 0} | {numbers[-1]}
    elif sample.layers:
        chosen = {numbers[i] for i in _spread(len(numbers), sample.layers)}
    else:
        return kinds.keys()
    known = {frozenset(kinds[number]) for number in chosen}
    for number in numbers:
        if (kind := frozenset(kinds[number])) not in known:
            known.add(kind)
            chosen.add(number)
    return chosen


def _spread(count: int, wanted: int) -> list[int]:
    """So many of ``count`` positions, first and last among them; the middle one for 1."""
    if wanted >= count:
        return list(range(count))
    if wanted == 1:
        return [count // 2]
    return [(2 * i * (count - 1) + wanted - 1) // (2 * (wanted - 1)) for i in range(wanted)]


Group = tuple[str, int | None, str, str]


def _chosen_experts(
    weights: Sequence[Weight],
    positions: Sequence[tuple[str, int | None]],
    layers: Mapping[str, Collection[int]],
    wanted: int,
    seed: int,
) -> Mapping[Group, Collection[int]]:
    """The experts of each group of alike ones, in the chosen layers."""
    groups: dict[Group, set[int]] = defaultdict(set)
    for weight, (stack, layer) in zip(weights, positions, strict=True) if wanted else ():
        if weight.expert_index is not None and (layer is None or layer in layers[stack]):
            groups[_group(weight, stack, layer)].add(weight.expert_index)
    # By a rank that depends on the layer and not on the group: the projections of an expert
    # belong together. From a hash, not from a generator: the same for every version of Python.
    ranks: dict[tuple[str, int | None, int], bytes] = {}
    for (stack, layer, _, _), known in groups.items():
        for expert in known:
            if (stack, layer, expert) not in ranks:
                key = f"{seed}\n{stack}\n{layer}\n{expert}"
                ranks[stack, layer, expert] = hashlib.sha256(key.encode()).digest()
    return {
        group: set(heapq.nsmallest(wanted, known, key=lambda e: ranks[group[0], group[1], e]))
        for group, known in groups.items()
    }


def _group(weight: Weight, stack: str, layer: int | None) -> Group:
    return stack, layer, weight.role.component, weight.role.block_type


def _refuse_groundless(weights: Sequence[Weight], sample: Sample) -> None:
    """Refuse a part that has nothing to choose from."""
    by_layer, by_expert = Sample(sample.every, sample.layers), Sample(experts=sample.experts)
    if str(by_layer) and all(weight.role.layer_index is None for weight in weights):
        raise ConfigError(
            f"the sample chooses {by_layer}, and no tensor is in a layer", _without(by_expert)
        )
    if str(by_expert) and all(weight.expert_index is None for weight in weights):
        raise ConfigError(
            f"the sample chooses {by_expert}, and no tensor is an expert's", _without(by_layer)
        )


def _without(rest: Sample) -> str:
    return f"Give --sample {rest} alone" if str(rest) else "Measure everything without --sample"
