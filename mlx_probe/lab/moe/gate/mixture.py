"""A mixture of experts with a gate of our own in the place of the stock block."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.moe.gate.routing import Record

__all__ = ["GatedMixture"]


class GatedMixture(nn.Module):
    r"""The sum of the active experts by their weights.

        y = s sum_e w_e o_e

    The weights of the active experts add up to 1. Where the experts are parts of a block whose
    down projections were multiplied by F (the sum form of `mlx-probe moe graft`, F = N), s = K / F
    with K active experts: with equal weights y is the plain sum of the parts that are active, with
    all N of them the block, and an expert that comes or goes leaves the others as they are. s = 1,
    which is F = 0 here, is the formula of the stock classes: what K experts say is an average, and
    of parts N / K times too large.

    All experts are computed, as one feed-forward block whose hidden units are scaled by the
    weights: on a CPU faster than mlx-lm's `SwitchGLU` for every K, because gathered products are
    made row by row (`benchmarks/moe_training.py --part blocks`).

    Args:
        gate: Takes tokens (..., dim), gives a `Routing`.
        experts: mlx-lm's `SwitchGLU`.
        factor: F, or 0 for s = 1.
        record: Gets what the gate says.
    """

    def __init__(self, gate: nn.Module, experts: Any, factor: float, record: Record) -> None:
        super().__init__()
        self.gate, self.switch_mlp = gate, experts
        self.factor: float = factor
        self._record = record

    @property
    def record(self) -> Record:
        """What gets the routing."""
        return self._record

    def __call__(self, x: mx.array) -> mx.array:
        """What is added to the residual stream, for x of shape (..., dim)."""
        routing: Any = self.gate(x)
        self._record.add(routing)
        weights = self._scaled(routing)
        hidden = self.hidden(x)
        scaled = hidden * weights.astype(hidden.dtype)[..., None]
        down = mx.swapaxes(self.switch_mlp.down_proj.weight, 0, 1)
        result: mx.array = scaled.flatten(-2) @ down.reshape(down.shape[0], -1).T
        return result

    def weighed(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """By what each expert's output is multiplied, s w_e, and whether it is active.

        Args:
            x: (..., dim); nothing is recorded.

        Returns:
            (..., experts) each.
        """
        routing: Any = self.gate(x)
        return self._scaled(routing), routing.active

    def _scaled(self, routing: Any) -> mx.array:
        weights: mx.array = routing.weights
        if not self.factor:
            return weights
        return weights * (mx.sum(routing.active, axis=-1, keepdims=True) / self.factor)

    def hidden(self, x: mx.array) -> mx.array:
        """silu(gate) * up of every expert's hidden units, (..., experts, width)."""
        gate, up = self.switch_mlp.gate_proj.weight, self.switch_mlp.up_proj.weight
        experts, width, dim = gate.shape
        made = nn.silu(x @ gate.reshape(-1, dim).T) * (x @ up.reshape(-1, dim).T)
        return made.reshape(*x.shape[:-1], experts, width)

    def output_norms(self, tokens: mx.array) -> mx.array:
        """L2 norm of each expert's output, without its weight: (tokens, experts), float32.

        Args:
            tokens: (tokens, dim).
        """
        hidden = self.hidden(tokens).astype(mx.float32)
        down = self.switch_mlp.down_proj.weight.astype(mx.float32)
        outputs = mx.swapaxes(hidden, 0, 1) @ mx.swapaxes(down, -1, -2)
        return mx.sqrt(mx.sum(outputs * outputs, axis=-1)).T
