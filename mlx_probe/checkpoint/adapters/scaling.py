"""Scales of low-rank adapters: one for all modules, or one by the pattern of a module's name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from mlx_probe.core.errors import PackingError

__all__ = ["number", "pattern_value", "scale_of"]


def pattern_value(patterns: Any, name: str, default: float | None) -> float | None:
    """The value of the first pattern that matches the end of a module's name.

    Keys are regular expressions; a match begins at a segment of the name and goes to its end
    (`get_pattern_key` of peft/utils/other.py).

    Args:
        patterns: ``alpha_pattern`` or ``rank_pattern`` of adapter_config.json.
        name: Name of the module in the base.
        default: Value where none matches.

    Raises:
        PackingError: A key is not a regular expression, or its value is not a number.
    """
    if not isinstance(patterns, Mapping):
        return default
    for pattern, value in patterns.items():
        try:
            matches = re.match(rf"(.*\.)?({pattern})$", name) is not None
        except re.error as error:
            raise PackingError(
                f"adapter_config.json: {pattern!r} is no pattern: {error}"
            ) from error
        if matches:
            found = number(value)
            if found is None:
                raise PackingError(f"adapter_config.json: {pattern!r} has the value {value!r}")
            return found
    return default


def scale_of(config: Mapping[str, Any], name: str, rank: float | None, alpha_key: str) -> float:
    """Factor of a module's product: alpha / rank, or alpha / sqrt(rank) with ``use_rslora``.

    Source: Hu et al. 2021 (arXiv 2106.09685); Kalajdzievski 2023 (arXiv 2312.03732).

    Args:
        config: adapter_config.json.
        name: Name of the module in the base.
        rank: Rank by the tensors' shapes; None where they do not show it.
        alpha_key: Key of alpha in the configuration.

    Raises:
        PackingError: The configuration gives no alpha, or no rank, or another rank.
    """
    alpha = pattern_value(config.get("alpha_pattern"), name, number(config.get(alpha_key)))
    declared = pattern_value(config.get("rank_pattern"), name, number(config.get("r")))
    if rank is None:
        rank = declared
    elif declared is not None and declared != rank:
        raise PackingError(
            f"factors of rank {rank:g}, and adapter_config.json says {declared:g}: PEFT does not "
            "load that"
        )
    if alpha is None or not rank:
        raise PackingError("adapter_config.json does not give the scale of the factors")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)


def number(value: Any) -> float | None:
    """A finite number, or None."""
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None
