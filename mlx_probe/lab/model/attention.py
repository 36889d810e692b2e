"""Grouped-query attention."""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.exponential import uses_exponential
from mlx_probe.lab.model.rms_norm import RMSNorm
from mlx_probe.lab.model.rotary import RotaryEmbedding
from mlx_probe.lab.model.softmax import softmax

__all__ = ["Attention", "attend"]

# Added to the score of a key that a query must not see: exp of it is 0 next to any other.
HIDDEN = -1e9


class Attention(nn.Module):
    r"""Causal attention in which several query heads share one head of keys and values.

    For each query head h with d coordinates, and the key/value head g of its group:

        out_h = softmax(Q_h K_g^T / sqrt(d) + mask) V_g,   y = W_o [out_1 ... out_heads]

    The mask is -infinity where a key comes after the query. As many key/value heads as query
    heads is multi-head attention (Vaswani and others 2017, "Attention is all you need",
    arXiv:1706.03762); fewer make the cache of keys and values smaller (Ainslie and others 2023,
    "GQA: training generalized multi-query transformer models from multi-head checkpoints",
    arXiv:2305.13245).

    With ``qk_norm``, queries and keys are RMS-normalized for each head before they are turned,
    which bounds the scores (Henry and others 2020, "Query-key normalization for transformers",
    arXiv:2010.04245; in this form in Qwen3, arXiv:2505.09388).

    Args:
        config: The shape of the model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.head_dim
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.q_proj = nn.Linear(config.dim, config.heads * width, bias=False)
        self.k_proj = nn.Linear(config.dim, config.kv_heads * width, bias=False)
        self.v_proj = nn.Linear(config.dim, config.kv_heads * width, bias=False)
        self.o_proj = nn.Linear(config.heads * width, config.dim, bias=False)
        self.rotary = RotaryEmbedding(width, config.rope_theta)
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            self.q_norm = RMSNorm(width, config.norm_epsilon)
            self.k_norm = RMSNorm(width, config.norm_epsilon)

    def __call__(self, x: mx.array, mask: Any = "causal", cache: Any = None) -> mx.array:
        """Attend.

        Args:
            x: Normalized residual stream, shape (batch, positions, dim).
            mask: "causal", None for a single new position, or a boolean array that is true where
                a query sees a key.
            cache: Keys and values of earlier positions, as mlx-lm's `KVCache` keeps them.

        Returns:
            What is added to the residual stream, shape (batch, positions, dim).
        """
        batch, positions, _ = x.shape
        queries = self.q_proj(x).reshape(batch, positions, self.heads, -1)
        keys = self.k_proj(x).reshape(batch, positions, self.kv_heads, -1)
        values = self.v_proj(x).reshape(batch, positions, self.kv_heads, -1).transpose(0, 2, 1, 3)
        if self.qk_norm:
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        offset = 0 if cache is None else cache.offset
        queries = self.rotary(queries.transpose(0, 2, 1, 3), offset)
        keys = self.rotary(keys.transpose(0, 2, 1, 3), offset)
        if cache is not None:
            keys, values = cache.update_and_fetch(keys, values)
        out = attend(queries, keys, values, mask)
        return self.o_proj(out.transpose(0, 2, 1, 3).reshape(batch, positions, -1))


def attend(queries: mx.array, keys: mx.array, values: mx.array, mask: Any) -> mx.array:
    """The weighted mean of the values for each query.

    Args:
        queries: Shape (batch, heads, positions, head_dim).
        keys: Shape (batch, kv_heads, positions of the keys, head_dim).
        values: As the keys.
        mask: As in `Attention`.

    Returns:
        Shape (batch, heads, positions, head_dim).
    """
    scale = 1 / math.sqrt(queries.shape[-1])
    square = queries.shape[2] == keys.shape[2] and isinstance(mask, str)
    if not (square and queries.dtype == mx.float32 and uses_exponential()):
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    batch, heads, positions, width = queries.shape
    # Query heads of one group beside each other; their keys and values are used by all of them.
    groups = keys.shape[1]
    grouped = (queries * scale).reshape(batch, groups, heads // groups, positions, width)
    scores = grouped @ keys[:, :, None].swapaxes(-1, -2)
    place = mx.arange(positions)
    weights = softmax(scores + mx.where(place[:, None] >= place, 0.0, HIDDEN))
    return (weights @ values[:, :, None]).reshape(batch, heads, positions, width)
