"""The weights before training."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

__all__ = ["SCALE", "initialize"]

# Standard deviation of a weight, and the projections that write into the residual stream.
SCALE = 0.02
OUTPUTS = ("o_proj.weight", "down_proj.weight")


def initialize(model: nn.Module, seed: int) -> None:
    r"""Draw the weights of a model, in place and in float32.

    Matrices are normal with standard deviation 0.02. The two projections of each block that add
    to the residual stream are smaller by sqrt(2 layers), so that the stream's variance at the end
    does not grow with the depth (Radford and others 2019, "Language models are unsupervised
    multitask learners"). Scales of norms are 1.

    Every matrix has a generator of its own, so that its weights depend on the seed, on its place
    in the sorted names and on its shape, and on no version of MLX.

    Args:
        model: A MiniLLM, or anything with `layers` and these names.
        seed: 0 or more.
    """
    drawn = []
    for i, (name, old) in enumerate(sorted(tree_flatten(model.parameters()))):
        if old.ndim < 2:
            drawn.append((name, mx.ones(old.shape)))
            continue
        scale = SCALE / math.sqrt(2 * len(model.layers)) if name.endswith(OUTPUTS) else SCALE
        numbers = np.random.Generator(np.random.PCG64([seed, i])).standard_normal(
            old.shape, dtype=np.float32
        )
        drawn.append((name, mx.array(numbers * np.float32(scale))))
    model.load_weights(drawn)
