"""The stock router: every token uses the same number of experts."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.moe.gate.routing import Routing

__all__ = ["TopKGate"]


class TopKGate(nn.Module):
    """The k experts with the largest logits, and the softmax over these.

    The same as mlx-lm's and transformers' mixtral, and as qwen3_moe with ``norm_topk_prob``. Of
    logits that are equal the first experts count; the stock classes leave that open.

    Args:
        weight: Of the router, (experts, dim).
        active: k.
    """

    def __init__(self, weight: mx.array, active: int) -> None:
        super().__init__()
        self.weight = weight
        self.active: int = active

    @property
    def experts(self) -> int:
        """How many there are."""
        return int(self.weight.shape[0])

    def __call__(self, x: mx.array) -> Routing:
        """The experts of tokens x, (..., dim)."""
        logits = (x @ self.weight.T).astype(mx.float32)
        order = mx.argsort(-mx.stop_gradient(logits), axis=-1)
        active = mx.argsort(order, axis=-1) < self.active
        weights = mx.softmax(mx.where(active, logits, -mx.inf), axis=-1)
        return Routing(weights, active, mx.zeros(x.shape[:-1], mx.bool_), logits)
