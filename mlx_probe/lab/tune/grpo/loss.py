"""The objective of GRPO.

    r   = p_new(token) / p_old(token)
    KL  = p_ref / p_new - log(p_ref / p_new) - 1
    J   = min(r A, clip(r, 1 - low, 1 + high) A) - kl KL        for each token

with A the advantage of the token's answer. Shao et al. 2024, arXiv 2402.03300, equations 3 and 4;
the estimator of the divergence is Schulman's "k3" (2020, "Approximating KL divergence"), which is
never negative. The loss is the sum of -w J over tokens, over the number of answers: w is 1 / |o|
for the tokens of an answer o ("grpo"), or 1 / answer_tokens for all ("dr_grpo").
"""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.lab.train.step import LossOf
from mlx_probe.lab.tune.config import GrpoConfig
from mlx_probe.lab.tune.loss import AnswerNats

__all__ = ["divergence", "grpo_loss", "objective"]


def divergence(new: mx.array, reference: mx.array) -> mx.array:
    """KL of the module, from logarithms of probabilities of any shape."""
    difference = reference - new
    return mx.exp(difference) - difference - 1


def objective(
    new: mx.array,
    old: mx.array,
    reference: mx.array | None,
    advantages: mx.array,
    config: GrpoConfig,
) -> mx.array:
    """J of the module, (n,).

    Args:
        new: Logarithms of the tokens' probabilities, (n,); the gradient goes through them.
        old: Before the first update that learns from these answers, (n,).
        reference: By the model before tuning, (n,); None leaves the divergence out.
        advantages: Of each token's answer, (n,).
        config: Bounds of the ratio, and the weight of the divergence.
    """
    ratio = mx.exp(new - old)
    clipped = mx.clip(ratio, 1 - config.clip_low, 1 + config.clip_high)
    gained = mx.minimum(ratio * advantages, clipped * advantages)
    return gained if reference is None else gained - config.kl * divergence(new, reference)


def grpo_loss(nats: AnswerNats, config: GrpoConfig) -> LossOf:
    """The loss of a micro-batch, to be divided by the answers of all.

    Args:
        nats: Of the model.
        config: See `objective`.
    """

    def loss(model: nn.Module, batch: Mapping[str, mx.array]) -> mx.array:
        new = -nats.each(model, batch)
        # Where a round is learned from once, the old model is the one that learns.
        old = batch["old"] if "old" in batch else mx.stop_gradient(new)
        gained = objective(new, old, batch.get("reference"), batch["advantages"], config)
        return -(gained * batch["weights"]).sum()

    return loss
