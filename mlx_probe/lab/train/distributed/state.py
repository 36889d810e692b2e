"""Weights and optimizer state of process 0 on all processes."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
from mlx.optimizers import MultiOptimizer
from mlx.utils import tree_flatten, tree_unflatten

from mlx_probe.lab.train.distributed.world import World, digest

__all__ = ["share_state"]


def share_state(world: World, model: nn.Module, optimizer: MultiOptimizer) -> None:
    """Give all processes the weights and optimizer state of process 0, in place.

    Args:
        world: The processes.
        model: The same shape on all.
        optimizer: Initialized; the same kind on all.

    Raises:
        ConfigError: They are not the same afterwards.
        PeerLost: A process is gone.
    """
    weights: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    states: dict[str, mx.array] = dict(tree_flatten(optimizer.state))
    names = {name: str((array.shape, array.dtype)) for name, array in {**weights, **states}.items()}
    world.check_same({"shape of the model or the optimizer": str(sorted(names.items()))})
    weights, states = world.share_arrays(weights), world.share_arrays(states)
    model.update(tree_unflatten(list(weights.items())))
    optimizer.state = tree_unflatten(list(states.items()))
    world.check_same({"weights": digest(weights), "optimizer state": digest(states)})
