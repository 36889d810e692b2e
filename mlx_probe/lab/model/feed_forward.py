"""The feed-forward block."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.model.config import ModelConfig

__all__ = ["SwiGLU"]


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
        return self.down_proj(nn.silu(self.gate_proj(x)) * self.up_proj(x))
