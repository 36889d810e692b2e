"""Which optimizer updates which weight.

Muon is for matrices inside the blocks. Embeddings and the output head are tables of vectors, norms
are vectors: AdamW (Loshchilov and Hutter, 2019) updates them. Weight decay is decoupled, and not
for embeddings and norms, whose size has a meaning of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.optimizers import AdamW as PlainAdamW
from mlx.optimizers import MultiOptimizer
from mlx.utils import tree_flatten

from mlx_probe.lab.train.config import TrainConfig
from mlx_probe.lab.train.muon import Muon

__all__ = ["AdamW", "is_decayed", "is_hidden_matrix", "make_optimizer", "set_decays", "set_rates"]


class AdamW(PlainAdamW):
    """mlx's AdamW with bias correction, and a multiplier "decay" of each weight's decay."""

    def init_single(self, parameter: mx.array, state: dict[str, Any]) -> None:
        """Begin a weight: no means, the plain decay."""
        super().init_single(parameter, state)
        state["decay"] = mx.array(1.0)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict[str, Any]) -> Any:
        """The updated weight."""
        kept = 1 - self.learning_rate * self.weight_decay * state["decay"]
        # Adam's own step: AdamW's would decay once more.
        return super(PlainAdamW, self).apply_single(gradient, parameter * kept, state)


def is_hidden_matrix(name: str, weight: mx.array) -> bool:
    """Whether a parameter is a matrix inside a block.

    Args:
        name: Its full name, such as "model.layers.0.mlp.up_proj.weight".
        weight: The parameter, or an array of its shape.
    """
    return weight.ndim == 2 and ".layers." in f".{name}"


def is_decayed(name: str, weight: mx.array) -> bool:
    """Whether weight decay is for a parameter: matrices without embeddings."""
    return weight.ndim == 2 and "embed_tokens" not in name


def make_optimizer(config: TrainConfig, model: nn.Module) -> MultiOptimizer:
    """The optimizer of all parameters, with its state as at the first step.

    Args:
        config: Optimizer, momentum, decays.
        model: Has the parameters.
    """

    def adamw(weight_decay: float) -> AdamW:
        betas = [config.beta1, config.beta2]
        rate = config.learning_rate
        return AdamW(rate, betas, config.epsilon, weight_decay, bias_correction=True)

    members = [adamw(config.weight_decay), adamw(0.0)]
    filters = [is_decayed]
    if config.optimizer == "muon":
        members.insert(0, Muon(config.muon_learning_rate, config.momentum, config.weight_decay))
        filters.insert(0, is_hidden_matrix)
    optimizer = MultiOptimizer(members, filters)
    optimizer.init(model.trainable_parameters())
    return optimizer


def set_rates(optimizer: MultiOptimizer, config: TrainConfig, share: float) -> None:
    """Set the learning rates of a step.

    Args:
        optimizer: From `make_optimizer`.
        config: The rates at the peak.
        share: Of the peak, from the schedule.
    """
    for member in optimizer.optimizers:
        is_muon = isinstance(member, Muon)
        peak = config.muon_learning_rate if is_muon else config.learning_rate
        # An array, so that no step has to be compiled again.
        member.learning_rate = mx.array(peak * share)


def set_decays(optimizer: MultiOptimizer, multipliers: Mapping[str, float]) -> None:
    """Set multipliers of the weight decay; they are a part of the optimizer's state.

    Args:
        optimizer: From `make_optimizer`.
        multipliers: By the parameters' names; those that are not named keep theirs.

    Raises:
        KeyError: A name is no parameter with weight decay.
    """
    states: dict[str, dict[str, Any]] = {}
    for member in optimizer.optimizers:
        if member.weight_decay:
            for name, _ in tree_flatten(member.state):
                if name.endswith(".decay"):
                    parameter = name.removesuffix(".decay")
                    states[parameter] = _inner(member.state, parameter)
    for name, multiplier in multipliers.items():
        states[name]["decay"] = mx.array(float(multiplier))


def _inner(state: Any, name: str) -> dict[str, Any]:
    for part in name.split("."):
        state = state[int(part)] if isinstance(state, list) else state[part]
    inner: dict[str, Any] = state
    return inner
