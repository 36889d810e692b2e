"""The feed-forward block."""

from __future__ import annotations

from typing import cast

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.exponential import exponential, uses_exponential

__all__ = ["SwiGLU", "gated"]


class SwiGLU(nn.Module):
    r"""y = W_down (silu(W_gate x) * W_up x), with silu(z) = z / (1 + exp(-z)).

    A gate decides for each of the hidden coordinates how much of the second projection passes.
    Three matrices with 2/3 of the hidden width cost as much as the two of a plain block.

    Shazeer 2020, "GLU variants improve transformer", arXiv:2002.05202.

    Args:
        config: The shape of the model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.dim, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.dim, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """What is added to the residual stream, for x of shape (..., dim)."""
        gate, up = self.gate_proj(x), self.up_proj(x)
        slow = gate.dtype == mx.float32 and uses_exponential()
        return self.down_proj(gated(gate, up) if slow else nn.silu(gate) * up)


def gated(gate: mx.array, up: mx.array) -> mx.array:
    """silu(gate) * up by `exponential`: for CPUs on which MLX's own is slow."""
    return cast(mx.array, _differentiable(gate, up))


@mx.custom_function
def _differentiable(gate: mx.array, up: mx.array) -> mx.array:
    return gate * (1 / (1 + exponential(-gate))) * up


@_differentiable.vjp
def _gradient(
    inputs: tuple[mx.array, mx.array], cotangent: mx.array, _: mx.array
) -> tuple[mx.array, mx.array]:
    r"""silu'(z) = s + z s (1 - s), with the sigmoid s = 1 / (1 + exp(-z))."""
    gate, up = inputs
    sigmoid = 1 / (1 + exponential(-gate))
    silu = gate * sigmoid
    return cotangent * up * (sigmoid + silu * (1 - sigmoid)), cotangent * silu
