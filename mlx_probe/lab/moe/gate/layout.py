"""A mixture with dynamic gates on disk: what config.json says, and the class that loads it.

It has the tensors of its stock mixture, but for the routers: `gate.prototypes` and
`gate.thresholds` are in the place of `gate.weight`. mlx-lm and transformers do not know its
model_type, and refuse it: with a router of the stock class it would be another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import mlx.core as mx

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.gate.dynamic import DynamicGate
from mlx_probe.lab.moe.gate.install import install_gates, stock_of
from mlx_probe.lab.moe.stock import DYNAMIC, Stock

__all__ = ["dynamic_classes", "dynamic_config", "dynamic_factor", "stock_config"]

ARCHITECTURE = "MlxProbeDynamicMoeForCausalLM"
# Keys of config.json.
_STOCK, _GATE = "stock_model_type", "dynamic_gate"


def dynamic_config(config: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """config.json of a stock mixture's, as that of one with dynamic gates.

    Args:
        config: Of the stock mixture.
        factor: See `GatedMixture`.
    """
    return {
        **config,
        "model_type": DYNAMIC,
        "architectures": [ARCHITECTURE],
        _STOCK: config["model_type"],
        _GATE: {"factor": factor},
    }


def stock_config(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The stock mixture's part of a config.json of `dynamic_config`.

    Args:
        name: Of the model, for the message.
        config: Its config.json.

    Raises:
        ConfigError: It does not say which stock mixture it is of.
    """
    stock = {**config, "model_type": config.get(_STOCK)}
    return {**stock, "architectures": [stock_of(name, stock).architecture]}


def dynamic_factor(name: str, config: Mapping[str, Any]) -> float:
    """See `GatedMixture`.

    Args:
        name: Of the model, for the message.
        config: Of `dynamic_config`.

    Raises:
        ConfigError: It does not say so.
    """
    gate = config.get(_GATE)
    factor = gate.get("factor") if isinstance(gate, Mapping) else None
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or factor < 0:
        raise ConfigError(
            f"{name}: config.json says of {_GATE}.factor {factor!r}, no number of 0 or more",
            "Write the model again with `mlx-probe moe train`",
        )
    return float(factor)


def dynamic_classes(name: str, config: Mapping[str, Any]) -> tuple[type, type]:
    """What mlx-lm builds a model with: the stock class with dynamic gates, and its arguments.

    Args:
        name: Of the model, for messages.
        config: Of `dynamic_config`.

    Raises:
        ConfigError: It is incomplete.
    """
    stock = stock_of(name, stock_config(name, config))
    factor = dynamic_factor(name, config)
    module = import_module(f"mlx_lm.models.{stock.model_type}")
    plain: Any = module.Model

    class DynamicMixture(plain):
        """The stock mixture; its prototypes and thresholds are loaded."""

        def __init__(self, settings: Any) -> None:
            super().__init__(settings)
            _install(self, stock, factor)

    return DynamicMixture, module.ModelArgs


def _install(network: Any, stock: Stock, factor: float) -> None:
    def gate(_: int, block: Any) -> DynamicGate:
        experts, dim = block.gate.weight.shape
        return DynamicGate(mx.zeros((experts, dim)), mx.zeros(experts))

    install_gates(network, stock.block, gate, factor)
