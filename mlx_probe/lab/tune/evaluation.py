"""Evaluation: nats of the validation conversations' answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.model.exponential import fused
from mlx_probe.lab.train.evaluation import Evaluation
from mlx_probe.lab.tune.batches import Batch
from mlx_probe.lab.tune.loss import AnswerNats

__all__ = ["AnswerEvaluator"]


class AnswerEvaluator:
    """Evaluates a model as `Evaluator` does, on answers alone.

    Args:
        model: The weights.
        nats: Of the model.
        token_bytes: UTF-8 bytes that each token stands for, (vocabulary,); 0 for special ones.
        compiled: Whether the forward pass is compiled.
    """

    def __init__(
        self, model: nn.Module, nats: AnswerNats, token_bytes: NDArray[np.int32], compiled: bool
    ) -> None:
        self._model, self._nats, self._bytes = model, nats, token_bytes
        self._has_bytes = mx.array(token_bytes > 0)
        self._sums = fused(self._forward, inputs=[model.state]) if compiled else self._forward

    def __call__(self, batches: Iterable[Batch], before_each: Callable[[], None]) -> Evaluation:
        """Evaluate.

        Args:
            batches: Of the validation conversations.
            before_each: Called before each batch; may raise to end the evaluation.
        """
        total = np.zeros(2)
        tokens = nbytes = 0
        self._model.eval()
        try:
            for batch in batches:
                before_each()
                # Sums of a batch in float32, of all in float64.
                total += np.array(self._sums(batch.to_device()), np.float64)
                tokens += batch.learned
                nbytes += int(self._bytes[batch.targets][batch.weights > 0].sum())
        finally:
            self._model.train()
        nats, with_bytes = (float(each) for each in total)
        bits = with_bytes / (math.log(2) * nbytes) if nbytes else math.nan
        return Evaluation(nats / tokens, bits, tokens)

    def _forward(self, batch: dict[str, mx.array]) -> mx.array:
        nats = self._nats(self._model, batch)
        has_bytes = self._has_bytes[batch["targets"]]
        return mx.stack([nats.sum(), mx.where(has_bytes, nats, 0.0).sum()])
