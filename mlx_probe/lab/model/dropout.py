"""Dropout with an explicit random key."""

from __future__ import annotations

import mlx.core as mx

__all__ = ["draw_keys", "dropout"]


def draw_keys(number: int) -> mx.array:
    """Random keys, shape (number, 2), from MLX's global state; the state moves on."""
    # MLX draws integers by way of float32, which holds 24 bits.
    return mx.random.randint(0, 1 << 24, (number, 2), mx.uint32)


def dropout(x: mx.array, probability: float, key: mx.array | None) -> mx.array:
    r"""Drop numbers: y = m x / (1 - p), where each m is 0 with probability p and else 1.

    The mean of y is x. The key is an argument, so that a block that is computed again in the
    backward pass drops the same numbers: MLX's `nn.Dropout` takes the next ones of the global
    state, and the gradient would be that of another function.

    Srivastava and others 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", JMLR 15.

    Args:
        x: Any shape.
        probability: p, at least 0 and below 1.
        key: Of `draw_keys`; None returns x, as in generation.
    """
    if key is None or probability == 0:
        return x
    # `mx.checkpoint` asks for the gradient of every argument, and random bits have none.
    kept = mx.random.bernoulli(1 - probability, x.shape, mx.stop_gradient(key))
    return kept * x * (1 / (1 - probability))
