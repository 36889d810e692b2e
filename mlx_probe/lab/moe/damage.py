"""How the loss of a mixture grows when each token may use fewer experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.logits import mean_loss

__all__ = ["TopExperts", "damage_curve"]


class TopExperts(nn.Module):
    r"""A mixture in which each token uses ``active`` experts.

    Of a sum, whose router says nothing, these are the experts with the largest outputs for that
    token (in the L2 norm), each with the weight that it has among all: what the others would have
    added is missing, and nothing else changes. Of other mixtures they are those that the router
    prefers, with the softmax over them, as the stock class computes.

    All experts are computed, so that their norms are known.

    Args:
        mixture: A block of mlx-lm with ``gate`` and ``switch_mlp``.
        is_sum: Whether the experts are parts of a sum.

    Attributes:
        active: Experts of each token.
    """

    def __init__(self, mixture: Any, is_sum: bool) -> None:
        super().__init__()
        self.gate, self.switch_mlp = mixture.gate, mixture.switch_mlp
        self.active: int = mixture.gate.weight.shape[0]
        self._is_sum = is_sum

    def __call__(self, x: mx.array) -> mx.array:
        """What is added to the residual stream, for x of shape (..., dim)."""
        tokens = x.reshape(-1, x.shape[-1])
        gates = self.gate(tokens).T
        outputs = self._outputs(tokens)
        score = mx.sum(outputs * outputs, axis=-1) if self._is_sum else gates
        rank = mx.argsort(mx.argsort(-score, axis=0), axis=0)
        keeps = rank < self.active
        if self._is_sum:
            weights = keeps / gates.shape[0]
        else:
            weights = mx.softmax(mx.where(keeps, gates, -mx.inf), axis=0)
        return mx.sum(outputs * weights[..., None], axis=0).reshape(x.shape)

    def _outputs(self, tokens: mx.array) -> mx.array:
        """(experts, tokens, dim)."""
        experts = self.switch_mlp
        gate, up, down = (
            mx.swapaxes(matrix.weight, -1, -2)
            for matrix in (experts.gate_proj, experts.up_proj, experts.down_proj)
        )
        return (nn.silu(tokens @ gate) * (tokens @ up)) @ down


def damage_curve(
    model: Any,
    block: str,
    rows: NDArray[np.int32],
    is_sum: bool,
    on_step: Callable[[], None] = lambda: None,
) -> list[tuple[int, float]]:
    """Loss with the k experts of `TopExperts` for each token, for k = N ... 1.

    Args:
        model: A mixture of mlx-lm; its blocks are replaced.
        block: Where a layer has its mixture.
        rows: See `text_rows`.
        is_sum: See `TopExperts`.
        on_step: Called after each k.

    Returns:
        k and mean nats a token.
    """
    mixtures = [TopExperts(layer[block], is_sum) for layer in model.layers]
    for layer, mixture in zip(model.layers, mixtures, strict=True):
        layer[block] = mixture
    curve = []
    for active in range(mixtures[0].active, 0, -1):
        for mixture in mixtures:
            mixture.active = active
        curve.append((active, mean_loss(model, rows)))
        on_step()
    return curve
