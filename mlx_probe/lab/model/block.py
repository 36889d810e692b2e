"""One block of the transformer."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.model.attention import Attention
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.dropout import dropout
from mlx_probe.lab.model.feed_forward import SwiGLU
from mlx_probe.lab.model.rms_norm import RMSNorm

__all__ = ["Block"]


class Block(nn.Module):
    r"""Attention and feed-forward, each added to a residual stream that stays unnormalized.

        h = x + dropout(attention(norm_1(x)))
        y = h + dropout(feed_forward(norm_2(h)))

    Normalizing before instead of after makes deep models train without a long warm-up (Xiong and
    others 2020, "On layer normalization in the transformer architecture", arXiv:2002.04745).

    Args:
        config: The shape of the model.
        probability: The chance that a number of either output is dropped.
    """

    def __init__(self, config: ModelConfig, probability: float = 0.0) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.dim, config.norm_epsilon)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.dim, config.norm_epsilon)
        self.mlp = SwiGLU(config)
        self.dropout = probability

    def __call__(
        self, x: mx.array, mask: Any = "causal", cache: Any = None, keys: mx.array | None = None
    ) -> mx.array:
        """The residual stream after the block; shapes as in `Attention`.

        Args:
            x: The residual stream.
            mask: As in `Attention`.
            cache: As in `Attention`.
            keys: Two random keys of dropout, shape (2, 2); None for no dropout.
        """
        first, second = (None, None) if keys is None else (keys[0], keys[1])
        attended = self.self_attn(self.input_layernorm(x), mask, cache)
        h = x + dropout(attended, self.dropout, first)
        return h + dropout(self.mlp(self.post_attention_layernorm(h)), self.dropout, second)
