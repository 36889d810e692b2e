"""The dynamic gate: how many experts a token uses follows from the token."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.moe.gate.routing import Routing

__all__ = ["DynamicGate", "cosines"]

# Below it a direction is none.
_SMALLEST = 1e-12


def cosines(x: mx.array, prototypes: mx.array) -> mx.array:
    """Cosine of each token with each prototype.

    Args:
        x: (..., dim).
        prototypes: (experts, dim).

    Returns:
        (..., experts), float32.
    """
    return _unit(x) @ _unit(prototypes).T


def _unit(x: mx.array) -> mx.array:
    x = x.astype(mx.float32)
    return x * mx.rsqrt(mx.maximum(mx.sum(x * x, axis=-1, keepdims=True), _SMALLEST))


class DynamicGate(nn.Module):
    r"""Fires an expert for each token that is nearer to its prototype than its threshold.

        s_e = cos(x, P_e) - sigmoid(g_e)
        a_e = ReLU(s_e),   K = number of a_e > 0
        w   = softmax over the active a_e, 0 for the others

    K = 0 is the fallback: the N / 2 experts (rounded down, at least one) with the largest cosines
    are active. All their a_e are 0, by which the softmax would be 1 / K for each and nothing would
    be learned from the token; it is taken over their s_e instead, which are the a_e wherever an
    expert fires. Cosines that are equal count in the order of the experts.

    The gradient goes through softmax and ReLU to prototypes and thresholds. K and the choice of
    the experts have none: at a threshold the block's output jumps.

    Args:
        prototypes: P, (experts, dim); their lengths mean nothing.
        thresholds: g, (experts,).
    """

    def __init__(self, prototypes: mx.array, thresholds: mx.array) -> None:
        super().__init__()
        self.prototypes, self.thresholds = prototypes, thresholds

    @property
    def experts(self) -> int:
        """How many there are."""
        return int(self.prototypes.shape[0])

    def __call__(self, x: mx.array) -> Routing:
        """The experts of tokens x, (..., dim)."""
        cosine = cosines(x, self.prototypes)
        scores = cosine - mx.sigmoid(self.thresholds.astype(mx.float32))
        fires = scores > 0
        fallback = mx.logical_not(mx.any(fires, axis=-1))
        best = _rank(cosine) < max(1, self.experts // 2)
        active = mx.where(fallback[..., None], best, fires)
        weights = mx.softmax(mx.where(active, scores, -mx.inf), axis=-1)
        return Routing(weights, active, fallback, scores)


def _rank(values: mx.array) -> mx.array:
    """0 for the largest of the last axis, and so on; no gradient."""
    # MLX's sort keeps the order of equal numbers.
    order = mx.argsort(-mx.stop_gradient(values), axis=-1)
    return mx.argsort(order, axis=-1)
