"""What is learned: the trainable parameters of a model by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map

__all__ = ["cast", "load_trainable", "number_type", "to_float32", "trainable"]


def trainable(model: nn.Module) -> dict[str, mx.array]:
    """By name."""
    return dict(tree_flatten(model.trainable_parameters()))


def load_trainable(model: nn.Module, weights: Mapping[str, mx.array]) -> None:
    """Put saved ones into a model.

    Args:
        model: Has these parameters.
        weights: By name.
    """
    model.load_weights([(name, each.astype(mx.float32)) for name, each in weights.items()], False)


def to_float32(model: nn.Module) -> None:
    """Learn in float32: updates are smaller than what 16 bits can say."""
    model.update(tree_map(lambda each: each.astype(mx.float32), model.trainable_parameters()))


def cast(model: nn.Module, dtype: str) -> None:
    """Give all weights of a model a type, but for the codes of quantized ones.

    Args:
        model: The model.
        dtype: "float32" or "bfloat16".
    """
    kind = getattr(mx, dtype)
    model.update(
        tree_map(
            lambda each: each.astype(kind) if mx.issubdtype(each.dtype, mx.floating) else each,
            model.parameters(),
        )
    )


def number_type(model: nn.Module) -> mx.Dtype:
    """The type that a model computes in: that of most of its frozen or learned floats."""
    sizes: Counter[mx.Dtype] = Counter()
    for name, array in tree_flatten(model.parameters()):
        if mx.issubdtype(array.dtype, mx.floating) and "lora_" not in name:
            sizes[array.dtype] += array.size
    return sizes.most_common(1)[0][0]
