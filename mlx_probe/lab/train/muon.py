"""Muon: momentum whose orthogonal factor is the update (Jordan et al., 2024).

    v <- mu v + (1 - mu) g
    u  = mu v + (1 - mu) g                                  (Nesterov)
    W <- (1 - eta lambda d) W - eta s polar(u),    s = sqrt(max(1, rows / columns))

polar(u) has all singular values 1, so every direction of a matrix learns at the same rate; s
keeps the update's effect on the activations equal for all shapes (Bernstein, "Deriving Muon",
2025). The decay is decoupled (Liu et al., "Muon is scalable for LLM training", 2025, arXiv
2502.16982). mlx's own Muon adds the decay to the gradient, where orthogonalizing drops its size,
and its five fixed steps leave singular values between 0.7 and 1.2.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import mlx.core as mx
from mlx.optimizers import Optimizer
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from mlx_probe.lab.train.polar_express import orthogonalize

__all__ = ["Muon"]


class Muon(Optimizer):
    """Muon for matrices alone.

    Args:
        learning_rate: eta; the state's `learning_rate` replaces it at any step.
        momentum: mu.
        weight_decay: lambda. The state of each matrix has a multiplier "decay" of it, d, which
            is 1 until a policy changes it.
    """

    def __init__(self, learning_rate: float, momentum: float, weight_decay: float) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum, self.weight_decay = momentum, weight_decay

    def init_single(self, parameter: mx.array, state: dict[str, Any]) -> None:
        """Begin a matrix: no momentum, the plain decay."""
        state["v"] = mx.zeros_like(parameter)
        state["decay"] = mx.array(1.0)

    def apply_gradients(self, gradients: dict[str, Any], parameters: dict[str, Any]) -> Any:
        """The updated matrices, as a tree like the gradients'."""
        if not self._initialized:
            self.init(gradients)
        self.state["step"] = self.step + 1
        momenta = tree_flatten(tree_map(self._momentum, gradients, self.state))
        # Matrices of one shape go through the products together.
        by_shape = defaultdict(list)
        for name, momentum in momenta:
            by_shape[momentum.shape].append((name, momentum))
        updates = []
        for group in by_shape.values():
            factors = orthogonalize(mx.stack([momentum for _, momentum in group]))
            updates += [(name, factors[i]) for i, (name, _) in enumerate(group)]
        tree = tree_unflatten(updates) if updates else {}
        return tree_map(self.apply_single, tree, parameters, self.state)

    def _momentum(self, gradient: mx.array, state: dict[str, Any]) -> mx.array:
        v = self.momentum * state["v"] + (1 - self.momentum) * gradient
        state["v"] = v
        return self.momentum * v + (1 - self.momentum) * gradient

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict[str, Any]) -> Any:
        """The updated matrix; ``gradient`` is the orthogonal factor."""
        rows, columns = parameter.shape
        rate = self.learning_rate
        kept = 1 - rate * self.weight_decay * state["decay"]
        return parameter * kept - rate * max(1.0, rows / columns) ** 0.5 * gradient
