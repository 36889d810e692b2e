"""The hidden units of a dense model's feed-forward blocks, while it reads a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

__all__ = ["watch_hidden"]

OnHidden = Callable[[int, NDArray[np.float32]], None]


class _Watched(nn.Module):
    """A down projection that shows what it is given."""

    def __init__(self, inner: nn.Module, layer: int, on_hidden: OnHidden) -> None:
        super().__init__()
        self.inner = inner
        self._layer, self._on_hidden = layer, on_hidden

    def __call__(self, x: mx.array) -> mx.array:
        hidden = np.array(x.astype(mx.float32)).reshape(-1, x.shape[-1])
        self._on_hidden(self._layer, hidden)
        result: mx.array = self.inner(x)
        return result


def watch_hidden(model: Any, rows: NDArray[np.int32], on_hidden: OnHidden) -> None:
    """Let a model read rows, and show the units of each layer; the model is as before at the end.

    Args:
        model: A model with ``layers``, each with ``mlp.down_proj``.
        rows: (rows, length + 1); the last token of each is not read.
        on_hidden: Called with the layer and silu(gate) * up, (tokens, hidden), layer by layer.
    """
    inner = [layer.mlp.down_proj for layer in model.layers]
    try:
        for number, layer in enumerate(model.layers):
            layer.mlp.down_proj = _Watched(inner[number], number, on_hidden)
        mx.eval(model(mx.array(rows[:, :-1])))
    finally:
        for layer, before in zip(model.layers, inner, strict=True):
            layer.mlp.down_proj = before
