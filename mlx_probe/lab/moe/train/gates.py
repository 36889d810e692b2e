"""The gates that are trained, as they begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.gate.begin import Seen, drawn_gate, fitted_gate
from mlx_probe.lab.moe.gate.install import mixtures
from mlx_probe.lab.moe.gate.top_k import TopKGate
from mlx_probe.lab.moe.gate.watch import watch_mixtures
from mlx_probe.lab.moe.train.config import GateConfig
from mlx_probe.lab.moe.train.opening import Mixture

__all__ = ["active_experts", "begin_gates", "choose_learned"]


def active_experts(mixture: Mixture, gate: GateConfig) -> int | None:
    """Experts of a token with a topk gate; None with a dynamic one.

    Raises:
        ConfigError: There are fewer experts.
    """
    if gate.kind == "dynamic":
        return None
    active = gate.active or max(1, mixture.experts // 2)
    if active > mixture.experts:
        raise ConfigError(
            f"gate.active is {active}, and {mixture.loaded.name} has {mixture.experts} experts",
            f"Give {mixture.experts} or fewer",
        )
    return active


def begin_gates(
    mixture: Mixture, gate: GateConfig, seed: int, batches: Iterator[NDArray[Any]]
) -> None:
    """Put the gates that are trained into a mixture.

    Args:
        mixture: Its blocks change.
        gate: Which, and how they begin.
        seed: Of what is drawn.
        batches: Training tokens that they look at, (B, T + 1) each.

    Raises:
        ConfigError: The mixture has no such gates to begin with.
    """
    active, factor = active_experts(mixture, gate), mixture.scale(gate)
    blocks = mixtures(mixture.network)
    if gate.begin == "model":
        for block in blocks:
            block.factor = factor
            _keep(mixture, block, active)
        return
    for number, (block, seen) in enumerate(
        zip(blocks, watch_mixtures(mixture.network, batches), strict=True)
    ):
        block.gate, block.factor = _begun(gate, seen, active, (seed, number)), factor


def _begun(gate: GateConfig, seen: Seen, active: int | None, seed: tuple[int, int]) -> nn.Module:
    if gate.begin == "tokens":
        return fitted_gate(seen, active, gate.open)
    return drawn_gate(seen, active, gate.open, seed)


def _keep(mixture: Mixture, block: Any, active: int | None) -> None:
    name = mixture.loaded.name
    if (active is None) != mixture.is_dynamic:
        kinds = ("dynamic", "topk") if mixture.is_dynamic else ("topk", "dynamic")
        raise ConfigError(
            f"gate.begin is model, and {name} has {kinds[0]} gates, not {kinds[1]} ones",
            f"Set gate.kind={kinds[0]}, or gate.begin=tokens",
        )
    if active is not None:
        if not mx.any(block.gate.weight != block.gate.weight[:1]).item():
            raise ConfigError(
                f"gate.begin is model, and the router of {name} prefers no expert",
                "Set gate.begin=tokens",
            )
        block.gate = TopKGate(block.gate.weight, active)


def choose_learned(mixture: Mixture, learn: str) -> None:
    """Let gates, or gates and experts, or all weights be learned, in float32.

    Args:
        mixture: With the gates that are trained.
        learn: "router", "experts" or "all".
    """
    network: nn.Module = mixture.network
    network.freeze()
    if learn == "all":
        network.unfreeze()
    for block in mixtures(network):
        (block if learn != "router" else block.gate).unfreeze()
    network.update(tree_map(lambda each: each.astype(mx.float32), network.trainable_parameters()))
    network.train()
