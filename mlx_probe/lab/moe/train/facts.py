"""What the plan and the metadata of a mixture's training say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from mlx_probe.lab.generate.loading import LoadedModel
from mlx_probe.lab.moe.train.config import MixtureRecipe
from mlx_probe.lab.moe.train.opening import Mixture
from mlx_probe.lab.settings import settings_to_dict
from mlx_probe.lab.train.machine import Machine
from mlx_probe.lab.train.tokens import TrainingTokens

__all__ = ["described_mixture", "flops_per_token", "step_tokens"]


def step_tokens(recipe: MixtureRecipe) -> int:
    """Tokens that a step predicts."""
    return recipe.train.batch * recipe.train.accumulation * recipe.train.context


def flops_per_token(
    network: nn.Module, learned: Mapping[str, mx.array], teacher: nn.Module | None
) -> float:
    """Operations of a step for each token, of the matrix products alone.

    2 for each number of the mixture and of the teacher forward, 2 for each of the mixture's back
    to its inputs, and 2 for each number that is learned. All experts are computed. Embeddings,
    whose rows are looked up, and attention scores are left out.

    Args:
        network: The mixture.
        learned: Its trainable parameters by name.
        teacher: The dense model, if it is run.
    """
    own, taught = _matrices(network), 0 if teacher is None else _matrices(teacher)
    gradients = sum(each.size for name, each in learned.items() if "embed_tokens" not in name)
    return 4.0 * own + 2.0 * taught + 2.0 * gradients


def _matrices(network: nn.Module) -> int:
    sizes = {name: each.size for name, each in tree_flatten(network.parameters())}
    is_tied = not any("lm_head" in name for name in sizes)
    return sum(size for name, size in sizes.items() if is_tied or "embed_tokens" not in name)


def described_mixture(
    recipe: MixtureRecipe,
    mixture: Mixture,
    teacher: LoadedModel | None,
    learned: Mapping[str, mx.array],
    tokens: TrainingTokens,
    machine: Machine,
    active: int | None,
    factor: float,
) -> dict[str, Any]:
    """What is known before the first step, for the plan and the metadata.

    Args:
        recipe: All settings.
        mixture: With the gates that are trained.
        teacher: The dense model, if there is one.
        learned: Its trainable parameters by name.
        tokens: The text.
        machine: What computes.
        active: Experts of a token of topk gates; None for dynamic ones.
        factor: See `GatedMixture`.
    """
    taught = teacher.model if teacher is not None and recipe.loss.distillation else None
    planned = step_tokens(recipe) * recipe.train.steps
    return {
        "recipe": settings_to_dict(recipe),
        "base": mixture.loaded.name,
        "base_folder": str(mixture.loaded.folder),
        "teacher": None if teacher is None else teacher.name,
        "stock": mixture.stock.model_type,
        "gate": recipe.gate.kind,
        "learn": recipe.train.learn,
        "layers": len(mixture.network.layers),
        "experts": mixture.experts,
        "active": active,
        "factor": factor,
        "learned_parameters": sum(each.size for each in learned.values()),
        "vocabulary": mixture.vocabulary,
        "flops_per_token": flops_per_token(mixture.network, learned, taught),
        "planned_steps": recipe.train.steps,
        "planned_tokens": planned,
        "epochs": planned / max(1, tokens.manifest.splits["train"].tokens),
        "data": tokens.manifest.summary(),
        **machine.describe(),
    }
