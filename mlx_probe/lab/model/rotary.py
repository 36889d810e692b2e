"""Rotary position embedding."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

__all__ = ["RotaryEmbedding"]


class RotaryEmbedding(nn.Module):
    r"""Turns each pair of coordinates of a head by an angle that grows with the position.

    Coordinates i and i + d/2 of a head with d coordinates are one pair, for i = 0 ... d/2 - 1. At
    position p it is turned by the angle p * theta^(-2i/d):

        y_i       = x_i cos(a) - x_{i+d/2} sin(a)
        y_{i+d/2} = x_i sin(a) + x_{i+d/2} cos(a)

    The dot product of a query at p and a key at q then depends on p - q alone. The paper pairs
    2i with 2i + 1; Hugging Face's checkpoints pair halves, and so does this.

    Su and others 2021, "RoFormer: enhanced transformer with rotary position embedding",
    arXiv:2104.09864.

    Args:
        head_dim: Coordinates of a head, even.
        theta: Base of the wavelengths: the slowest pair takes 2 pi theta^(1 - 2/d) positions for
            a full turn.
    """

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.theta = theta

    def __call__(self, x: mx.array, offset: int = 0) -> mx.array:
        """Turn x, shape (batch, heads, positions, head_dim); the first position is ``offset``."""
        return mx.fast.rope(
            x, self.head_dim, traditional=False, base=self.theta, scale=1.0, offset=offset
        )
