"""The loss."""

from __future__ import annotations

import mlx.core as mx

from mlx_probe.lab.model.exponential import exponential, uses_exponential

__all__ = ["cross_entropy"]


def cross_entropy(logits: mx.array, targets: mx.array) -> mx.array:
    r"""-log p(target) in nats for each position, with p = softmax(logits).

        log sum_j exp(z_j - m) + m - z_target,   m = max z

    Args:
        logits: Shape (..., vocabulary); computed in float32.
        targets: Integers below the vocabulary, shape (...).

    Returns:
        Float32, shape (...).
    """
    logits = logits.astype(mx.float32)
    target = mx.take_along_axis(logits, targets[..., None], axis=-1).squeeze(-1)
    if mx.default_device().type == mx.gpu:
        # Its kernel reads the logits once, and keeps no copy of them.
        return mx.logsumexp(logits, axis=-1) - target
    # One exponential for each logit, which the backward pass uses again.
    exp = exponential if uses_exponential() else mx.exp
    # A constant: the loss does not depend on it.
    largest = mx.stop_gradient(mx.max(logits, axis=-1, keepdims=True))
    total = mx.sum(exp(logits - largest), axis=-1)
    return mx.log(total) + largest.squeeze(-1) - target
