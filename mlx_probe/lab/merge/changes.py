"""What an adapter does to each parameter of its base, refused where it is not certain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from mlx_probe.analysis.compare.adapter_pairing import pair_adapter
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.core.errors import CheckpointError

__all__ = ["Changes", "read_changes"]


@dataclass(frozen=True)
class Changes:
    """The changes of one parameter.

    Attributes:
        whole: Pair of each matrix of it, by its index in a stack (None without one), if the
            adapter changes or replaces it as a whole.
        parts: Pairs of the parts of a fused matrix that are changed, by the same index.
    """

    whole: Mapping[int | None, Pair]
    parts: Mapping[int | None, tuple[Pair, ...]]


def read_changes(base: Checkpoint, adapter: Checkpoint) -> Mapping[str, Changes]:
    """The changes of all parameters, by name; a parameter that stays is not among them.

    Args:
        base: The model.
        adapter: The adapter.

    Raises:
        CheckpointError: It is no adapter, it changes nothing, or a change of it is not certain.
        ConfigError: What this kind of adapter makes of the weights is not computed.
    """
    if adapter.adapter is None:
        raise CheckpointError(
            f"{adapter.files.path} is no adapter",
            "Give the folder with adapter_config.json: PEFT's or mlx-lm's",
        )
    whole: defaultdict[str, dict[int | None, Pair]] = defaultdict(dict)
    parts: defaultdict[str, defaultdict[int | None, list[Pair]]] = defaultdict(
        lambda: defaultdict(list)
    )
    pairs = pair_adapter(base, adapter)
    for pair in pairs:
        _refuse_unknown(adapter, pair)
        if pair.a is not None and _changes(pair):
            if pair.a.part is None:
                whole[pair.a.name][pair.a.stack_index] = pair
            else:
                parts[pair.a.name][pair.a.stack_index].append(pair)
    changed = {
        name: Changes(
            whole[name],
            {
                index: tuple(several)
                for index, several in parts[name].items()
                # Those of a matrix that is changed as a whole follow from it.
                if index not in whole[name]
            },
        )
        for name in {**whole, **parts}
    }
    if not changed:
        raise CheckpointError(
            f"{adapter.files.path} changes no tensor of {base.files.path}",
            "Give the model that the adapter was trained on",
        )
    return changed


def _changes(pair: Pair) -> bool:
    return pair.status is None and (pair.adaption is not None or pair.b is not None)


def _refuse_unknown(adapter: Checkpoint, pair: Pair) -> None:
    """Refuse what would leave the merged model another one than base and adapter."""
    weight = pair.weight
    if pair.a is None:
        raise _not_merged(adapter, weight, pair.reason)
    # A part that follows from its matrix has the adapter's tensor, and no numbers of its own.
    follows = pair.a.part is not None and not pair.is_change_unknown
    if pair.is_change_unknown or (pair.b is not None and pair.status is not None and not follows):
        raise _not_merged(adapter, weight, pair.reason)


def _not_merged(adapter: Checkpoint, weight: Weight, reason: str | None) -> CheckpointError:
    return CheckpointError(
        f"{adapter.files.path}: {weight.label} cannot be merged: {reason}",
        "Give the model that the adapter was trained on, or merge it with the program that made "
        "it (PEFT: merge_and_unload; mlx-lm: mlx_lm.fuse)",
    )
