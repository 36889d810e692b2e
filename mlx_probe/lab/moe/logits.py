"""What a model says of every token of some rows, in float32."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_map
from numpy.typing import NDArray

from mlx_probe.lab.model.cross_entropy import cross_entropy

__all__ = ["mean_loss", "row_logits", "single_precision"]

Numbers = NDArray[np.float32]


def single_precision(model: nn.Module) -> nn.Module:
    """Let a model compute in float32, in place."""

    def cast(array: mx.array) -> mx.array:
        return array.astype(mx.float32) if array.dtype in (mx.bfloat16, mx.float16) else array

    model.update(tree_map(cast, model.parameters()))
    return model


def row_logits(model: nn.Module, rows: NDArray[np.int32]) -> Iterator[tuple[Numbers, float]]:
    """Logits (length, vocabulary) of each row, and the sum of nats of its tokens.

    Args:
        model: Takes (B, T) tokens.
        rows: (rows, length + 1).
    """
    for row in rows:
        logits = model(mx.array(row[None, :-1])).astype(mx.float32)
        nats = cross_entropy(logits, mx.array(row[None, 1:]))
        mx.eval(logits, nats)
        yield np.array(logits[0]), float(np.array(nats, np.float64).sum())


def mean_loss(model: nn.Module, rows: NDArray[np.int32]) -> float:
    """Mean nats a token."""
    return sum(nats for _, nats in row_logits(model, rows)) / (rows.shape[0] * (rows.shape[1] - 1))
