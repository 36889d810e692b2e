"""Which experts learn from a step: all, those with the smallest gradients, the largest, or some.

"smk" keeps the gradients of the k experts of each layer with the smallest gradient norm, and sets
those of the others to zero. It is a heuristic of one research group, here to be compared: with all,
with the k largest, and with k by chance. An expert that no token used has the smallest norm, 0.

The optimizer has a memory: under AdamW the mean of earlier gradients still moves an expert whose
gradient is zero now, and so does weight decay. Under plain gradient descent exactly k move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.train.config import PolicyConfig
from mlx_probe.lab.train.step import Transform

__all__ = ["expert_norms", "expert_policy"]

# The stacked experts of a mixture, (experts, rows, columns) each.
_STACK = "switch_mlp"
# Draws of one seed that must not be the same numbers.
_OF_POLICY = 11


def expert_policy(config: PolicyConfig, experts: int, seed: int) -> Transform | None:
    """What changes the gradients of a step; None where all experts learn.

    Args:
        config: Which learn.
        experts: Of a layer.
        seed: Of the policy "random": with the number of a step it says which, so that a training
            that goes on draws the same.

    Raises:
        ConfigError: There are fewer experts.
    """
    if config.kind == "all":
        return None
    if config.experts > experts:
        raise ConfigError(
            f"policy.experts is {config.experts}, and there are {experts} experts",
            f"Give {experts} or fewer",
        )

    def transform(step: int, gradients: Any) -> Any:
        flat = dict(tree_flatten(gradients))
        for number, names in enumerate(_stacks(flat)):
            norms = expert_norms([flat[name] for name in names])
            keeps = _keeps(config, norms, (seed, step, number))
            for name in names:
                flat[name] = flat[name] * keeps.reshape(-1, 1, 1)
        return tree_unflatten(list(flat.items()))

    return transform


def expert_norms(gradients: Sequence[mx.array]) -> mx.array:
    """Norm of the gradient of each expert of a layer, over all its matrices.

    Args:
        gradients: Of its stacks, (experts, rows, columns) each.

    Returns:
        (experts,), float32.
    """
    squares = [mx.sum(mx.square(each.astype(mx.float32)), axis=(1, 2)) for each in gradients]
    return mx.sqrt(sum(squares[1:], squares[0]))


def _keeps(config: PolicyConfig, norms: mx.array, draw: tuple[int, int, int]) -> mx.array:
    """1 for each expert whose gradient is kept, 0 for the others, (experts,)."""
    count = norms.shape[0]
    if config.kind == "random":
        random = np.random.Generator(np.random.PCG64([*draw, _OF_POLICY]))
        kept = np.zeros(count, np.float32)
        kept[random.choice(count, config.experts, replace=False)] = 1
        return mx.array(kept)
    order = mx.argsort(norms if config.kind == "smk" else -norms)
    return (mx.argsort(order) < config.experts).astype(mx.float32)


def _stacks(flat: dict[str, mx.array]) -> list[list[str]]:
    """The names of each layer's stacks, in the order of the layers."""
    found: dict[str, list[str]] = {}
    for name in flat:
        before, stack, _ = name.partition(f".{_STACK}.")
        if stack:
            found.setdefault(before, []).append(name)
    return list(found.values())
