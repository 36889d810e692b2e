"""How fast MLX multiplies matrices of a model's own sizes on the device in use."""

from __future__ import annotations

import math
import time
from collections import Counter

import mlx.core as mx

from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import parameter_shapes

__all__ = ["product_rate"]

# A first product this small takes 25 ms with the slowest BLAS; the others take this long each.
SMALL, SECONDS = 5e7, 0.05
# Longer sides and fewer rows say nothing new about large products.
LONGEST, FEWEST_ROWS = {mx.cpu: 2048, mx.gpu: 16384}, 64
# Each shape is timed so often, and all of them no longer than this.
TIMES, BUDGET = 3, 0.8


def product_rate(config: ModelConfig, tokens: int, dtype: mx.Dtype = mx.float32) -> float:
    """Operations a second in the matrix products of a forward pass.

    Times the product of `tokens` rows with a matrix of each shape that the model has, weighs the
    times by how many operations the model spends in that shape, and takes the fastest of a few
    repetitions. Takes about half a second, whatever the model: of large products a part is
    enough.

    Args:
        config: The shape of the model, with its vocabulary.
        tokens: Tokens of a forward pass.
        dtype: What the passes compute in.
    """
    shapes = Counter(
        shape
        for name, shape in parameter_shapes(config).items()
        if len(shape) == 2 and not (name.startswith("model.embed") and not config.tied_embeddings)
    )
    began = time.perf_counter()
    seconds = 0.0
    for shape, count in shapes.items():
        longest = LONGEST[mx.default_device().type]
        weight = mx.ones([min(side, longest) for side in shape], dtype)
        spent = count * 2 * math.prod(shape)
        seconds += spent / _rate_of(weight, tokens, began + BUDGET)
    return sum(count * 2 * math.prod(shape) for shape, count in shapes.items()) / seconds


def _rate_of(weight: mx.array, tokens: int, until: float) -> float:
    """Operations a second of x @ weight.T."""
    operations = 2 * weight.size
    rows = min(tokens, max(FEWEST_ROWS, int(SMALL / operations)))
    rate = _timed(weight, rows)
    rows = max(rows, min(tokens, int(rate * SECONDS / operations)))
    for _ in range(TIMES):
        if time.perf_counter() > until:
            break
        rate = max(rate, _timed(weight, rows))
    return rate


def _timed(weight: mx.array, rows: int) -> float:
    x = mx.ones((rows, weight.shape[1]), weight.dtype)
    mx.eval(x, weight)
    began = time.perf_counter()
    mx.eval(x @ weight.T)
    return 2 * rows * weight.size / (time.perf_counter() - began)
