"""Which modules PEFT's configuration targets: what is stored for others, PEFT does not load."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["is_targeted", "starts_at_random"]

# The number of the layer: the first number among the segments of a name.
_LAYER = r".*?\.[^.]*\.(?P<idx>\d+)\."


def is_targeted(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a module is one of ``target_modules``, in a layer of ``layers_to_transform``.

    Names match as in PEFT (`check_target_module_exists` of peft/tuners/tuners_utils.py): a text is
    a regular expression for the whole name, a list has names or their last segments.

    Args:
        name: Name of the module in the base.
        config: adapter_config.json.

    Returns:
        True also where the configuration names no modules, or all linear ones.
    """
    targets, excluded = config.get("target_modules"), config.get("exclude_modules")
    if _matches(name, excluded):
        return False
    if not targets or (isinstance(targets, str) and targets.lower() == "all-linear"):
        return True
    if not _matches(name, targets):
        return False
    if isinstance(targets, str) or name in targets:
        return True
    return _in_layers(name, config.get("layers_to_transform"), config.get("layers_pattern"))


def starts_at_random(config: Mapping[str, Any]) -> bool:
    """Whether a module for which nothing is stored changes its weight all the same.

    By default adapters begin with a change of 0.

    Args:
        config: adapter_config.json.
    """
    targets = config.get("target_modules")
    if isinstance(targets, str) and targets.lower() == "all-linear":
        return False
    return any(
        config.get(option, True) in (False, "orthogonal", "xavier_uniform", "kaiming_uniform")
        for option in ("init_lora_weights", "init_weights", "init_ia3_weights")
    )


def _matches(name: str, wanted: Any) -> bool:
    if isinstance(wanted, str):
        try:
            return re.fullmatch(wanted, name) is not None
        except re.error:
            return False
    if not isinstance(wanted, list):
        return False
    return any(isinstance(each, str) and f".{name}".endswith(f".{each}") for each in wanted)


def _in_layers(name: str, layers: Any, patterns: Any) -> bool:
    if layers is None or layers == []:
        return True
    names = [patterns] if isinstance(patterns, str) else patterns or []
    expressions = [rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\." for pattern in names] or [_LAYER]
    found = (re.match(expression, name) for expression in expressions)
    match = next((each for each in found if each is not None), None)
    if match is None:
        return False
    return int(match["idx"]) in (layers if isinstance(layers, list) else [layers])
