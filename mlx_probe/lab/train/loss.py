"""Cross-entropy: the nats that a model needs for each token that really came next."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

__all__ = ["next_token_nats"]


def next_token_nats(model: nn.Module, tokens: mx.array) -> mx.array:
    """Negative log-probability of each token after the first, in nats.

        nats_t = log(sum_v exp(logit_tv)) - logit_t,target,    target = token t + 1

    Args:
        model: Takes (B, T) tokens, gives (B, T, V) logits.
        tokens: (B, T + 1), any integer type.

    Returns:
        (B, T), float32 whatever the model computes in: sums of many small numbers need it.
    """
    logits = model(tokens[:, :-1].astype(mx.int32)).astype(mx.float32)
    targets = tokens[:, 1:].astype(mx.int32)
    if mx.default_device().type == mx.gpu:
        # Its kernels read the logits once for log-sum-exp, and keep no copy of them.
        nats: mx.array = nn.losses.cross_entropy(logits, targets, reduction="none")
        return nats
    # On the CPU an exponential costs more than anything else here: this takes one for each logit
    # and uses it again in the backward pass, where log-sum-exp and its gradient take two.
    logits = logits - mx.stop_gradient(logits.max(axis=-1, keepdims=True))
    chosen = mx.take_along_axis(logits, targets[..., None], axis=-1).squeeze(-1)
    return mx.log(mx.exp(logits).sum(axis=-1)) - chosen
