"""One step: gradients of the loss, their norm, and the update of the weights.

    g = mean of the gradients of k micro-batches                (accumulation)
    g <- g min(1, clip / |g|)                                   (Pascanu et al., 2013)
    W <- optimizer(W, g)

The host waits once in a step, for loss and norm: it sees whether both are finite before anything
changes the weights. It describes the update while the device computes the gradients, and prepares
the next step while the device computes the update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.optimizers import MultiOptimizer
from mlx.utils import tree_flatten, tree_map

from mlx_probe.lab.model.exponential import fused
from mlx_probe.lab.train.config import TrainConfig
from mlx_probe.lab.train.loss import mean_nats
from mlx_probe.lab.train.optimizer import set_rates
from mlx_probe.lab.train.schedule import rate_share

__all__ = [
    "Describe", "LossOf", "MakeStep", "NotFinite", "Reduction", "StepResult", "TrainStep",
    "Transform",
]  # fmt: skip

# Takes a model and a micro-batch, and gives the loss whose gradient is taken; or that, and what
# else is to be known of the micro-batch, as arrays by name.
LossOf = Callable[[nn.Module, Any], mx.array | tuple[mx.array, dict[str, mx.array]]]

# Takes the sums of these arrays over the micro-batches, and what their losses are divided by, and
# gives metrics of the step.
Describe = Callable[[Mapping[str, mx.array], int], Mapping[str, float]]

# Takes a step's number and its gradients, the sum over the micro-batches, and gives those that the
# optimizer sees.
Transform = Callable[[int, Any], Any]

# Takes gradients and loss of this process, and gives the means of all.
Reduction = Callable[[Any, mx.array], tuple[Any, mx.array]]


@dataclass(frozen=True)
class StepResult:
    """What a step says of itself.

    Attributes:
        loss: Mean nats a token, before the update.
        grad_norm: Norm of the gradient before clipping.
        learning_rate: Of AdamW.
        more: Other metrics of the step, by the names of their columns.
    """

    loss: float
    grad_norm: float
    learning_rate: float
    more: Mapping[str, float] = field(default_factory=dict)


# Given a step's number and the tokens of its micro-batches, makes it; see `TrainStep`.
MakeStep = Callable[[int, Sequence[Any]], StepResult]


class NotFinite(Exception):  # noqa: N818  the trainer makes an error of it
    """Loss or gradient is NaN or infinite; the weights are still those of the step before.

    Args:
        what: "loss" or "gradient norm".
        value: The number.
    """

    def __init__(self, what: str, value: float) -> None:
        super().__init__(f"{what} is {value}")
        self.what, self.value = what, value


class TrainStep:
    """Makes steps.

    Args:
        model: The weights, float32.
        optimizer: From `make_optimizer`, with the state to begin with.
        config: Clipping, dropout, rates and seed.
        dtype: Numbers of the forward and backward pass.
        compiled: Whether the parts are compiled.
        reduction: Makes the mean over all processes; None for one process.
        rank: Number of this process: each drops other numbers.
        loss: Of a micro-batch; by default the mean nats a token.
        divisor: What the sum of the micro-batches' losses is divided by; by default their number.
        describe: Makes metrics of what the loss gives beside itself.
        transform: Changes the gradients before their norm is taken; None for none.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: MultiOptimizer,
        config: TrainConfig,
        dtype: mx.Dtype,
        compiled: bool,
        reduction: Reduction | None = None,
        rank: int = 0,
        loss: LossOf = mean_nats,
        divisor: Callable[[Sequence[Any]], int] = len,
        describe: Describe = lambda sums, count: {},
        transform: Transform | None = None,
    ) -> None:
        self._model, self._optimizer, self._config = model, optimizer, config
        self._loss_of, self._divisor = loss, divisor
        self._describe, self._transform = describe, transform
        self._dtype, self._reduction, self._rank = dtype, reduction, rank
        self._value_and_grad = mx.value_and_grad(self._loss)
        weights, state = model.state, optimizer.state
        parts: tuple[Callable[..., Any], ...] = (
            (
                fused(self._begin, inputs=[weights, mx.random.state], outputs=mx.random.state),
                fused(self._accumulate, [weights, mx.random.state], mx.random.state),
                fused(_norm),
                fused(self._apply, inputs=[weights, state], outputs=[weights, state]),
            )
            if compiled
            else (self._begin, self._accumulate, _norm, self._apply)
        )
        self._gradients, self._add, self._norm, self._update = parts

    def __call__(self, step: int, batches: Sequence[Any]) -> StepResult:
        """Make a step.

        Args:
            step: Its number, from 1.
            batches: Tokens of each micro-batch, (B, T + 1), or what else the loss takes.

        Raises:
            NotFinite: The weights are as before.
        """
        config = self._config
        share, count = rate_share(step, config), self._divisor(batches)
        for number, tokens in enumerate(batches):
            if config.dropout:
                # mx.random.state cannot be restored; a seed for each micro-batch can.
                parts = [config.seed, step, number, self._rank]
                mx.random.seed(int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]))
            if number == 0:
                (loss, sums), gradients = self._gradients(tokens)
            else:
                (loss, sums), gradients = self._add(tokens, (loss, sums), gradients)
            if len(batches) > 1:
                # One micro-batch's activations at a time in memory.
                mx.async_eval(loss, sums, gradients)  # type: ignore[no-untyped-call]
        scale = mx.array(1.0 / count)
        if self._reduction is not None:
            gradients, loss = self._reduction(gradients, loss)
        if self._transform is not None:
            gradients = self._transform(step, gradients)
        norm = self._norm(gradients) * scale
        loss = loss * scale
        mx.async_eval(loss, norm, sums)  # type: ignore[no-untyped-call]
        # While these are computed, the update is described. It is computed, in the memory of the
        # arrays that it replaces, once the norm is known to be finite.
        weights, state = self._model.parameters(), tree_map(_same, self._optimizer.state)
        set_rates(self._optimizer, config, share)
        if config.clip:
            scale = scale * mx.minimum(1.0, config.clip / mx.maximum(norm, 1e-30))
        self._update(gradients, scale)
        more = self._describe(sums, count)
        result = StepResult(float(loss), float(norm), config.learning_rate * share, more)
        for what, value in (("loss", result.loss), ("gradient norm", result.grad_norm)):
            if not math.isfinite(value):
                self._model.update(weights)
                _put_back(self._optimizer.state, state)
                raise NotFinite(what, value)
        del gradients, weights, state
        mx.async_eval(  # type: ignore[no-untyped-call]
            self._model.parameters(), self._optimizer.state
        )
        return result

    def _loss(self, weights: dict[str, Any], tokens: Any) -> tuple[mx.array, dict[str, mx.array]]:
        if self._dtype != mx.float32:
            weights = tree_map(lambda weight: weight.astype(self._dtype), weights)
        self._model.update(weights)
        found = self._loss_of(self._model, tokens)
        return found if isinstance(found, tuple) else (found, {})

    def _begin(self, tokens: Any) -> tuple[tuple[mx.array, Any], Any]:
        """Loss, what else is known, and gradients of the first micro-batch."""
        weights = self._model.trainable_parameters()
        found, gradients = self._value_and_grad(weights, tokens)
        self._model.update(weights)  # not the traced ones
        return found, gradients

    def _accumulate(
        self, tokens: Any, before: tuple[mx.array, Any], total: Any
    ) -> tuple[tuple[mx.array, Any], Any]:
        """Sums of losses, of what else is known, and of gradients, with one more micro-batch."""
        (loss, more), gradients = self._begin(tokens)
        sums = tree_map(mx.add, before[1], more)
        return (before[0] + loss, sums), tree_map(mx.add, total, gradients)

    def _apply(self, gradients: Any, scale: mx.array) -> None:
        gradients = tree_map(lambda gradient: gradient * scale, gradients)
        self._optimizer.update(self._model, gradients)


def _norm(gradients: Any) -> mx.array:
    """Euclidean norm of all gradients together."""
    flat = [gradient.reshape(-1) for _, gradient in tree_flatten(gradients)]
    # As products, which need no array of squares.
    squares = [(vector[None] @ vector[:, None]).reshape(()) for vector in flat]
    return mx.sqrt(sum(squares[1:], squares[0]))


def _same(array: mx.array) -> mx.array:
    return array


def _put_back(tree: Any, before: Any) -> None:
    """Set the arrays of a tree in its own dictionaries, which compiled functions hold."""
    for key, value in before.items() if isinstance(before, dict) else enumerate(before):
        if isinstance(value, (dict, list)):
            _put_back(tree[key], value)
        else:
            tree[key] = value
