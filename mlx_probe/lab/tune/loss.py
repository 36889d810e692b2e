"""The loss: nats of the assistant's tokens, and of no others.

The output head is the largest matrix of a small model, and a conversation is mostly what is
given: its scores are computed only where a token is learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_probe.lab.model.cross_entropy import cross_entropy

__all__ = ["AnswerNats", "learned_tokens"]


class _Where:
    """Positions of the learned tokens, while a model is called. No array of the model's own."""

    positions: mx.array | None = None


class AnswerNats:
    """Nats of the learned tokens of a batch.

    Args:
        model: From now on, within a call of this object, its scores are those of the learned
            positions alone.
        temperature: Scores are divided by it.
    """

    def __init__(self, model: nn.Module, temperature: float = 1.0) -> None:
        self._where, self._temperature = _Where(), temperature
        inner = model.get("model") if isinstance(model, dict) else None
        self._picks = isinstance(inner, nn.Module)
        if isinstance(inner, nn.Module):
            _pick(inner, self._where)

    def __call__(self, model: nn.Module, batch: Mapping[str, mx.array]) -> mx.array:
        """Nats of each learned token, (n,), float32; 0 where the batch is filled up."""
        return self.each(model, batch) * batch["weights"]

    def each(self, model: nn.Module, batch: Mapping[str, mx.array]) -> mx.array:
        """Nats of each target, (n,), float32, whatever its weight."""
        self._where.positions = batch["positions"] if self._picks else None
        try:
            logits = model(batch["tokens"])
        finally:
            self._where.positions = None
        logits = logits.reshape(-1, logits.shape[-1])
        if not self._picks:
            logits = logits[batch["positions"]]
        if self._temperature != 1:
            logits = logits.astype(mx.float32) / self._temperature
        return cross_entropy(logits, batch["targets"])

    def total(self, model: nn.Module, batch: Mapping[str, mx.array]) -> mx.array:
        """Their sum: what a step makes small, over `learned_tokens`."""
        return self(model, batch).sum()


def learned_tokens(batches: Sequence[Mapping[str, mx.array]]) -> int:
    """Learned tokens of some batches."""
    return sum(int(np.array(batch["weights"]).sum()) for batch in batches)


def _pick(inner: nn.Module, where: _Where) -> None:
    """Let a module without the head return the rows of the learned positions alone.

    The head of every model of mlx-lm works on each row by itself.
    """
    plain: Any = type(inner)

    class Picking(plain):
        """The module; its class stays what it was by name."""

        def __call__(self, *arguments: Any, **settings: Any) -> Any:
            rows = plain.__call__(self, *arguments, **settings)
            if where.positions is None:
                return rows
            return rows.reshape(-1, rows.shape[-1])[where.positions][None]

    Picking.__name__, Picking.__qualname__ = plain.__name__, plain.__qualname__
    inner.__class__ = Picking
