"""Probabilities of tokens that are drawn already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_map, tree_unflatten
from numpy.typing import NDArray

from mlx_probe.lab.tune.loss import AnswerNats

if TYPE_CHECKING:
    from mlx_probe.lab.tune.grpo.batches import AnswerBatch

__all__ = ["Scorer"]


class Scorer:
    """Logarithms of tokens' probabilities, computed as a step does.

    Args:
        model: The weights.
        nats: Of the model.
        dtype: Numbers of the forward pass.
    """

    def __init__(self, model: nn.Module, nats: AnswerNats, dtype: mx.Dtype) -> None:
        self._model, self._nats, self._dtype = model, nats, dtype

    def __call__(
        self, batch: AnswerBatch, weights: Mapping[str, mx.array] | None = None
    ) -> NDArray[np.float32]:
        """Of the learned tokens, (n,).

        Args:
            batch: The answers.
            weights: What is learned, in the place of the model's; None for the model's.
        """
        own, model = self._model.trainable_parameters(), self._model
        used = own if weights is None else tree_unflatten(list(weights.items()))
        was_training = model.training
        model.eval()
        model.update(tree_map(lambda weight: weight.astype(self._dtype), used))
        try:
            return -np.array(self._nats.each(model, batch.to_device()))
        finally:
            model.update(own)
            model.train(was_training)
