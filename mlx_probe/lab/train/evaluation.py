"""Evaluation: how well a model predicts text that it was not trained on.

    val_loss = sum of nats / tokens
    val_bpb  = sum of nats of tokens that stand for text / (ln 2 x UTF-8 bytes of these tokens)

Bits per byte do not depend on the vocabulary: a larger one has fewer tokens and more nats in each.
Special tokens stand for no bytes and count in val_loss alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.model.exponential import fused
from mlx_probe.lab.train.loss import next_token_nats

__all__ = ["Evaluation", "Evaluator"]

# Batches that may wait for the device: their logits are in memory.
_AHEAD = 2


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation finds.

    Attributes:
        loss: Mean nats a token.
        bits_per_byte: See the module.
        tokens: Tokens that were predicted.
    """

    loss: float
    bits_per_byte: float
    tokens: int

    @property
    def values(self) -> dict[str, float]:
        """For metrics.jsonl."""
        return {"val_loss": self.loss, "val_bpb": self.bits_per_byte}

    def is_better(self, best: Mapping[str, Any]) -> bool:
        """Whether it is better than the values of another one."""
        return self.loss < float(best["val_loss"])


class Evaluator:
    """Evaluates a model.

    Args:
        model: The weights.
        token_bytes: UTF-8 bytes that each token stands for, (vocabulary,); 0 for special ones.
        compiled: Whether the forward pass is compiled.
    """

    def __init__(self, model: nn.Module, token_bytes: NDArray[np.int32], compiled: bool) -> None:
        self._model, self._bytes = model, token_bytes
        self._has_bytes = mx.array(token_bytes > 0)
        inputs = [model.state]
        self._sums = fused(self._forward, inputs=inputs) if compiled else self._forward

    def __call__(
        self, batches: Iterable[NDArray[np.integer]], before_each: Callable[[], None]
    ) -> Evaluation:
        """Evaluate.

        Args:
            batches: Tokens, (B, T + 1) each; every one but the first of a row is predicted.
            before_each: Called before each batch; may raise to end the evaluation.

        Returns:
            The result; NaN as bits per byte if no token stands for bytes.
        """
        total = np.zeros(2)
        tokens = nbytes = 0
        waiting: list[mx.array] = []
        self._model.eval()
        try:
            for batch in batches:
                before_each()
                # Sums of a batch in float32, of all in float64.
                sums = self._sums(mx.array(batch))
                mx.async_eval(sums)  # type: ignore[no-untyped-call]
                waiting.append(sums)
                targets = batch[:, 1:]
                tokens += targets.size
                nbytes += int(self._bytes[targets].sum())
                if len(waiting) > _AHEAD:
                    total += np.array(waiting.pop(0), np.float64)
            for sums in waiting:
                total += np.array(sums, np.float64)
        finally:
            self._model.train()
        nats, with_bytes = (float(each) for each in total)
        bits = with_bytes / (math.log(2) * nbytes) if nbytes else math.nan
        return Evaluation(nats / tokens, bits, tokens)

    def _forward(self, tokens: mx.array) -> mx.array:
        """Sum of all nats of a batch, and of those whose targets have bytes: (2,), float32."""
        nats = next_token_nats(self._model, tokens)
        has_bytes = self._has_bytes[tokens[:, 1:].astype(mx.int32)]
        return mx.stack([nats.sum(), mx.where(has_bytes, nats, 0.0).sum()])
