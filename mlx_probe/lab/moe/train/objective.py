"""What a mixture learns: to say what its teacher says, and the next token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.model.cross_entropy import cross_entropy
from mlx_probe.lab.moe.gate.routing import Record, Routing
from mlx_probe.lab.moe.train.config import LossConfig

__all__ = ["AuxiliaryLoss", "Reading", "Teacher", "counts_of_active", "described_step",
           "divergence", "mixture_loss"]  # fmt: skip

Batch = Mapping[str, mx.array]


@dataclass(frozen=True)
class Reading:
    """What a mixture said of a micro-batch, while its loss is taken.

    Attributes:
        batch: See `Teacher`.
        logits: (B, T, vocabulary).
        routing: Of each layer.
    """

    batch: Batch
    logits: mx.array
    routing: Sequence[Routing]


# Takes the model and what it said, and gives what is added to the loss; and numbers of the
# micro-batch for metrics.jsonl, as means over its tokens.
AuxiliaryLoss = Callable[[nn.Module, Reading], tuple[mx.array, dict[str, mx.array]]]


class Teacher:
    """Makes of tokens what a step takes: also what the teacher says of them.

    Args:
        model: The teacher; None where nothing is learned from it.
        temperature: Its logits are divided by it.
    """

    def __init__(self, model: nn.Module | None, temperature: float) -> None:
        self._model, self._temperature = model, temperature

    def __call__(self, tokens: NDArray[np.integer]) -> dict[str, mx.array]:
        """A batch of a step.

        Args:
            tokens: (B, T + 1).

        Returns:
            "inputs" and "targets", (B, T); with a teacher its probabilities "teacher",
            (B, T, vocabulary), and their "entropy" in nats, (B, T).
        """
        whole = mx.array(tokens.astype(np.int32))
        batch = {"inputs": whole[:, :-1], "targets": whole[:, 1:]}
        if self._model is None:
            return batch
        logits = self._model(batch["inputs"]).astype(mx.float32) / self._temperature
        teacher = mx.softmax(logits, axis=-1)
        # log sum exp, from the largest of each: an exponential less for each logit.
        total = mx.max(logits, axis=-1) - mx.log(mx.max(teacher, axis=-1))
        entropy = total - mx.sum(teacher * logits, axis=-1)
        return {**batch, "teacher": teacher, "entropy": entropy}


def divergence(
    logits: mx.array, teacher: mx.array, entropy: mx.array, temperature: float
) -> mx.array:
    r"""KL(p || q) of each token, in nats, with q = softmax(logits / temperature).

        KL = log sum_v exp(z_v) - sum_v p_v z_v - H(p),   z = logits / temperature

    Args:
        logits: Of the student, (..., vocabulary).
        teacher: p, (..., vocabulary).
        entropy: H(p), (...).
        temperature: Of both.

    Returns:
        (...), float32.
    """
    scaled = logits.astype(mx.float32) / temperature
    return _log_total(scaled) - mx.sum(teacher * scaled, axis=-1) - entropy


def _log_total(logits: mx.array) -> mx.array:
    """Log sum exp over the last axis, whose backward pass has no exponentials of its own."""
    first = mx.zeros(logits.shape[:-1], mx.int32)
    return cross_entropy(logits, first) + logits[..., 0]


def mixture_loss(
    record: Record, config: LossConfig, auxiliary: Sequence[AuxiliaryLoss] = ()
) -> Callable[[nn.Module, Batch], tuple[mx.array, dict[str, mx.array]]]:
    """The loss of a micro-batch.

        L = distillation temperature^2 KL + language NLL + auxiliary losses

    Args:
        record: Of the mixture.
        config: Weights and temperature.
        auxiliary: Other losses, with their weights.

    Returns:
        A loss for `TrainStep`, which also gives what `described_step` reads.
    """

    def loss(model: nn.Module, batch: Batch) -> tuple[mx.array, dict[str, mx.array]]:
        with record.kept() as routing:
            logits = model(batch["inputs"])
        logits = logits.astype(mx.float32)
        # Once for both losses: over a large vocabulary they are most of the exponentials.
        log_total = _log_total(logits)
        target = mx.take_along_axis(logits, batch["targets"][..., None], axis=-1).squeeze(-1)
        nats = (log_total - target).mean()
        total, more = config.language * nats, {"train_loss": mx.stop_gradient(nats)}
        if "teacher" in batch:
            teacher, entropy = batch["teacher"], batch["entropy"]
            if config.temperature == 1:
                apart = log_total - mx.sum(teacher * logits, axis=-1) - entropy
            else:
                apart = divergence(logits, teacher, entropy, config.temperature)
            apart = apart.mean()
            total = total + config.distillation * config.temperature**2 * apart
            more["teacher_kl"] = mx.stop_gradient(apart)
        for other in auxiliary:
            added, numbers = other(model, Reading(batch, logits, routing))
            total, more = total + added, {**more, **numbers}
        more["objective"] = mx.stop_gradient(total)
        return total, {**more, **counts_of_active(routing)}

    return loss


def counts_of_active(routing: Sequence[Routing]) -> dict[str, mx.array]:
    """How many tokens of each layer use how many experts.

    Returns:
        "active" (layers, experts + 1): entry K counts the tokens with K experts; "fallback"
        (layers,): tokens for which no expert fired. Float32: exact up to 2^24 tokens.
    """
    counts, fallbacks = [], []
    for layer in routing:
        experts = layer.active.shape[-1]
        active = mx.sum(layer.active, axis=-1).reshape(-1, 1)
        counts.append(mx.sum(active == mx.arange(experts + 1), axis=0))
        fallbacks.append(mx.sum(layer.fallback))
    return {
        "active": mx.stack(counts).astype(mx.float32),
        "fallback": mx.stack(fallbacks).astype(mx.float32),
    }


def described_step(sums: Mapping[str, mx.array], count: int) -> dict[str, float]:
    """Metrics of a step.

    Args:
        sums: Over the micro-batches, of what the loss gives.
        count: Micro-batches.
    """
    counts = np.array(sums["active"], np.float64)
    numbers = np.arange(counts.shape[1])
    used = np.flatnonzero(counts.sum(0))
    total = counts.sum()
    more = {
        name: float(value) / count
        for name, value in sums.items()
        if name not in ("active", "fallback")
    }
    return {
        **more,
        "active_mean": float((counts.sum(0) * numbers).sum() / total),
        "active_min": float(used[0]),
        "active_max": float(used[-1]),
        "fallback": float(np.array(sums["fallback"], np.float64).sum() / total),
    }
