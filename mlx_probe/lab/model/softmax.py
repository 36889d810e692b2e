"""Softmax over the last axis."""

from __future__ import annotations

from typing import cast

import mlx.core as mx

from mlx_probe.lab.model.exponential import exponential

__all__ = ["softmax"]


def softmax(scores: mx.array) -> mx.array:
    r"""p_i = exp(s_i - max s) / sum_j exp(s_j - max s).

    Subtracting the largest score changes no quotient and keeps exp from overflowing (Bridle 1990,
    "Probabilistic interpretation of feedforward classification network outputs"). By
    `exponential`: for CPUs on which MLX's own is slow. Weights below 1e-38 are 1e-38.

    Args:
        scores: Float32, any shape; the last axis is normalized.
    """
    return cast(mx.array, _differentiable(scores))


@mx.custom_function
def _differentiable(scores: mx.array) -> mx.array:
    powers = exponential(scores - mx.max(scores, axis=-1, keepdims=True))
    return powers * (1 / mx.sum(powers, axis=-1, keepdims=True))


@_differentiable.vjp
def _gradient(scores: mx.array, cotangent: mx.array, weights: mx.array) -> mx.array:
    r"""dL/ds_i = p_i (g_i - sum_j g_j p_j): the weights of the forward pass are enough."""
    product = cotangent * weights
    return product - weights * mx.sum(product, axis=-1, keepdims=True)
