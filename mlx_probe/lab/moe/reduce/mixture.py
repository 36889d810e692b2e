"""The mixture that experts are taken from: its tensors by what they are, and its numbers."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_probe.checkpoint import Checkpoint
from mlx_probe.core.errors import ConfigError, damaged
from mlx_probe.core.records import TensorInfo
from mlx_probe.lab.moe.reduce.family import REDUCIBLE, Family
from mlx_probe.lab.moe.stock import is_mixture

__all__ = ["Layer", "Mixture", "read_mixture", "require_count"]

_EXPERT = re.compile(r"experts\.(\d+)\.(.+)")
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Layer:
    """The tensors of a layer's mixture.

    Attributes:
        prefix: Beginning of their names, up to the block.
        experts: Of each expert, by the rest of the name.
        stacked: Those with all experts along the first axis, the router's among them.
    """

    prefix: str
    experts: tuple[Mapping[str, TensorInfo], ...]
    stacked: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class Mixture:
    """A mixture in its files.

    Attributes:
        kind: Its model_type.
        family: Where things are.
        experts: Experts of a layer.
        active: Experts that a token uses.
        groups: Groups of neighbours of which a router chooses some first; 1 for no groups.
        kept_groups: How many it chooses.
        layers: Layers that are mixtures, by their number.
        others: All other tensors, which stay as they are.
    """

    kind: str
    family: Family
    experts: int
    active: int
    groups: int
    kept_groups: int
    layers: Mapping[int, Layer]
    others: tuple[TensorInfo, ...]


def read_mixture(model: Checkpoint) -> Mixture:
    """What a model's tensors are.

    Raises:
        CheckpointError: It is damaged, or of another shape than config.json says.
        ConfigError: It is no mixture, or of a family that is not known.
    """
    path, config = model.files.path, model.config
    kind = config.get("model_type")
    family = REDUCIBLE.get(kind) if isinstance(kind, str) else None
    if not is_mixture(config):
        raise ConfigError(
            f"{path} is a dense model: {kind}",
            "Give a mixture of experts; `mlx-probe moe graft` makes one of a dense model",
        )
    if family is None:
        raise ConfigError(
            f"{path}: where a checkpoint of type {kind!r} has its experts is not known here",
            f"Give a mixture of type {', '.join(REDUCIBLE)}",
        )
    # Settings of modules by name: which experts they are of would change.
    if named := re.search(r"experts\.\d+[\w.]*", json.dumps(config)):
        raise ConfigError(
            f"{path}: config.json has settings of single experts ({named[0]})",
            "Give the model with its original weights, or in a packing that is the same for all",
        )
    counts = {key: config.get(key) for key in (family.count, family.active)}
    for key, count in counts.items():
        if type(count) is not int or count < 1:
            raise damaged(model.files.config or path, f"{key} is {count!r}, not a count")
    experts, active = (int(str(count)) for count in counts.values())
    layers, others = _layers(model, family, experts)
    return Mixture(
        kind=str(kind),
        family=family,
        experts=experts,
        active=active,
        groups=_number(config, "n_group"),
        kept_groups=_number(config, "topk_group"),
        layers=layers,
        others=others,
    )


def require_count(mixture: Mixture, keep: int) -> None:
    """Refuse a number of experts that the mixture cannot have.

    Args:
        mixture: The mixture.
        keep: Experts of each layer that it would have.

    Raises:
        ConfigError: The reason.
    """
    if keep >= mixture.experts:
        raise ConfigError(
            f"--keep {keep} takes none of the {mixture.experts} experts of a layer",
            f"Give --keep {mixture.experts - 1} or less",
        )
    if keep < mixture.active:
        raise ConfigError(
            f"a token uses {mixture.active} experts, and --keep {keep} leaves fewer",
            f"Give --keep {mixture.active} or more",
        )
    groups = mixture.groups
    fewest = max(2, -(-mixture.active // mixture.kept_groups)) * groups if groups > 1 else 1
    if keep % groups or keep < fewest:
        fits = [str(n) for n in range(fewest, mixture.experts, groups)]
        raise ConfigError(
            f"--keep {keep} does not fit the router, which chooses {mixture.kept_groups} of "
            f"{groups} groups of equal size, then {mixture.active} experts of these",
            f"Give --keep {' or '.join(fits[-4:])}"
            if fits
            else "Give a mixture with larger groups: these cannot lose an expert",
        )


def _number(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else 1


def _layers(
    model: Checkpoint, family: Family, experts: int
) -> tuple[dict[int, Layer], tuple[TensorInfo, ...]]:
    path = model.files.path
    single: defaultdict[int, dict[int, dict[str, TensorInfo]]] = defaultdict(dict)
    stacked: defaultdict[int, list[TensorInfo]] = defaultdict(list)
    strange: dict[int, TensorInfo] = {}
    others = []
    for tensor in model.tensors:
        if tensor.problem is not None or tensor.strides is not None:
            raise damaged(path, f"tensor {tensor.name} is not plain: {tensor.problem}")
        place = _LAYER.fullmatch(tensor.name)
        inside = place and place[2].startswith(f"{family.block}.")
        if not place or not inside:
            others.append(tensor)
            continue
        layer, rest = int(place[1]), place[2][len(family.block) + 1 :]
        if expert := _EXPERT.fullmatch(rest):
            single[layer].setdefault(int(expert[1]), {})[expert[2]] = tensor
        elif rest.startswith((family.router, *family.stacked)):
            stacked[layer].append(tensor)
        else:
            others.append(tensor)
            if not rest.startswith(family.beside):
                strange.setdefault(layer, tensor)
    layers = {}
    for layer in sorted({*single, *stacked}):
        if layer in strange:
            raise ConfigError(
                f"{path}: what its tensor {strange[layer].name} is to the experts is not known",
                f"Give a mixture of type {', '.join(REDUCIBLE)} without changes",
            )
        prefix = f"model.layers.{layer}.{family.block}."
        found = single.get(layer, {})
        if found and sorted(found) != list(range(experts)):
            raise damaged(path, f"{prefix}experts has {len(found)} experts, not {experts}")
        rests = {frozenset(each) for each in found.values()}
        if len(rests) > 1:
            raise damaged(path, f"{prefix}experts have different tensors")
        for tensor in stacked[layer]:
            if tensor.shape[:1] != (experts,):
                raise damaged(
                    path, f"tensor {tensor.name} has the shape {tensor.shape}, not of {experts}"
                )
        names = [tensor.name[len(prefix) :] for tensor in stacked[layer]]
        if not any(name.startswith(family.router) for name in names):
            raise damaged(path, f"{prefix}{family.router}weight is missing")
        if not found and all(name.startswith(family.router) for name in names):
            raise damaged(path, f"{prefix}experts are missing")
        layers[layer] = Layer(prefix, tuple(found[i] for i in sorted(found)), tuple(stacked[layer]))
    if not layers:
        raise damaged(path, "no tensor is an expert's")
    return layers, tuple(others)
