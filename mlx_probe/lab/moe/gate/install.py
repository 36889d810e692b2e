"""A loaded mixture of mlx-lm with gates of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mlx.nn as nn

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.gate.mixture import GatedMixture
from mlx_probe.lab.moe.gate.routing import Record
from mlx_probe.lab.moe.stock import STOCKS, Stock

__all__ = ["install_gates", "mixtures", "require_plain", "stock_of"]

_BY_TYPE: Mapping[str, Stock] = {stock.model_type: stock for stock in STOCKS.values()}


def stock_of(name: str, config: Mapping[str, Any]) -> Stock:
    """The stock mixture that a config.json is of.

    Args:
        name: Of the model, for the message.
        config: Its config.json.

    Raises:
        ConfigError: It is none whose gate can be replaced.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in _BY_TYPE:
        raise ConfigError(
            f"{name} is of type {kind!r}, no mixture whose gate can be trained here",
            f"Give a model of type {' or '.join(_BY_TYPE)}; `mlx-probe moe graft` makes one",
        )
    return _BY_TYPE[kind]


def require_plain(name: str, network: Any, block: str) -> None:
    """Refuse quantized experts.

    Args:
        name: Of the model, for the message.
        network: Of mlx-lm.
        block: Where a layer has its mixture.

    Raises:
        ConfigError: Codes cannot be scaled or learned; or a layer has no mixture.
    """
    for number, layer in enumerate(network.layers):
        experts = getattr(layer[block], "switch_mlp", None)
        if experts is None:
            raise ConfigError(
                f"{name}: layer {number} is no mixture",
                "Give a mixture in every layer, as `mlx-probe moe graft` writes it",
            )
        if any("scales" in module for module in experts.leaf_modules().values()):
            raise ConfigError(
                f"{name}: the experts of layer {number} are quantized, and codes cannot be trained",
                "Give the mixture before it was quantized",
            )


def install_gates(
    network: Any, block: str, make: Callable[[int, Any], nn.Module], factor: float
) -> Record:
    """Replace the blocks of a model.

    Args:
        network: Of mlx-lm; its blocks are replaced.
        block: Where a layer has its mixture.
        make: Gives the gate of a layer, from its number and its block.
        factor: See `GatedMixture`.

    Returns:
        What keeps the routing of all layers.
    """
    record = Record()
    for number, layer in enumerate(network.layers):
        before = layer[block]
        layer[block] = GatedMixture(make(number, before), before.switch_mlp, factor, record)
    return record


def mixtures(network: Any) -> list[GatedMixture]:
    """The mixtures of a model with gates of ours, in the order of its layers."""
    children = (each for layer in network.layers for each in layer.children().values())
    return [each for each in children if isinstance(each, GatedMixture)]
