"""Cross-entropy: the nats that a model needs for each token that really came next."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.model.cross_entropy import cross_entropy

__all__ = ["mean_nats", "next_token_nats"]


def next_token_nats(model: nn.Module, tokens: mx.array) -> mx.array:
    """Negative log-probability of each token after the first, in nats.

        nats_t = log(sum_v exp(logit_tv)) - logit_t,target,    target = token t + 1

    Args:
        model: Takes (B, T) tokens, gives (B, T, V) logits.
        tokens: (B, T + 1), any integer type.

    Returns:
        (B, T), float32 whatever the model computes in: sums of many small numbers need it.
    """
    return cross_entropy(model(tokens[:, :-1].astype(mx.int32)), tokens[:, 1:].astype(mx.int32))


def mean_nats(model: nn.Module, tokens: mx.array) -> mx.array:
    """The mean of `next_token_nats`: what a model is trained to make small."""
    return next_token_nats(model, tokens).mean()
