"""Root mean square normalization."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

__all__ = ["RMSNorm"]


class RMSNorm(nn.Module):
    r"""y = weight * x / sqrt(mean(x^2) + epsilon), over the last axis.

    Unlike layer normalization it neither subtracts the mean nor adds a bias. The weight keeps one
    scale for each coordinate; the mean square is taken in float32.

    Zhang and Sennrich 2019, "Root mean square layer normalization", arXiv:1910.07467.

    Args:
        width: Length of the last axis.
        epsilon: Added to the mean square.
    """

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = mx.ones((width,))
        self.epsilon = epsilon

    def __call__(self, x: mx.array) -> mx.array:
        """Normalize x, shape (..., width)."""
        return mx.fast.rms_norm(x, self.weight, self.epsilon)
