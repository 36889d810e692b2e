"""What a tuning's plan and metadata say about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from mlx_probe.lab.generate.loading import LoadedModel
from mlx_probe.lab.settings import settings_to_dict
from mlx_probe.lab.train.machine import Machine
from mlx_probe.lab.tune.adapters import Adapters
from mlx_probe.lab.tune.config import TuneRecipe
from mlx_probe.lab.tune.example import Examples
from mlx_probe.lab.tune.grpo.prompts import Prompts

__all__ = ["described_tuning", "epochs", "flops_per_token", "parameter_count", "planned_tokens"]


def parameter_count(model: nn.Module) -> int:
    """Numbers of a model; codes of quantized matrices count as the numbers they stand for."""
    count = 0
    for _, module in model.named_modules():
        bits = getattr(module, "bits", None)
        for name, array in module.items():
            if not isinstance(array, mx.array) or name.startswith("_"):
                continue
            if bits and name in ("scales", "biases"):
                continue
            count += array.size * 32 // bits if bits and name == "weight" else array.size
    return count


def flops_per_token(model: nn.Module, learned: Mapping[str, int], method: str) -> float:
    """Operations of forward and backward pass for each token, of the matrix products alone.

    2 N each for the forward pass and for the gradient of the activations, with the N numbers of
    all matrices; and 2 M for the gradients of M learned ones. Attention and head are left out:
    what they take depends on the lengths.

    Args:
        model: With its adapters.
        learned: Numbers of its trainable parameters by name.
        method: Of the adapters.
    """
    embedding = sum(
        array.size for name, array in tree_flatten(model.parameters()) if "embed_tokens" in name
    )
    matrices = parameter_count(model) - embedding
    return 4.0 * matrices + 2.0 * sum(
        size for name, size in learned.items() if "embed_tokens" not in name
    )


def planned_tokens(recipe: TuneRecipe, examples: Examples | Prompts) -> int:
    """Tokens that are read in all steps, by the mean length of an example.

    Args:
        recipe: All settings.
        examples: What is learned from; with GRPO answers count as long as they may be.
    """
    train = recipe.train
    if train.objective == "grpo":
        rows = recipe.answers
    else:
        rows = min(train.batch, len(examples.train)) * train.accumulation
    return round(examples.mean_tokens * rows * train.steps)


def epochs(recipe: TuneRecipe, examples: Examples | Prompts) -> float:
    """How often each example, or prompt, is learned from.

    Args:
        recipe: All settings.
        examples: What is learned from.
    """
    train = recipe.train
    rounds = train.steps / recipe.grpo.updates
    if train.objective == "grpo":
        return rounds * recipe.grpo.prompts / len(examples.train)
    return train.steps * train.batch * train.accumulation / len(examples.train)


def described_tuning(
    recipe: TuneRecipe,
    loaded: LoadedModel,
    adapters: Adapters,
    learned: Mapping[str, int],
    examples: Examples | Prompts,
    machine: Machine,
) -> dict[str, Any]:
    """What is known before the first step, for the plan and the metadata.

    Args:
        recipe: All settings.
        loaded: The base with its adapters.
        adapters: What is learned.
        learned: Numbers of the trainable parameters by name.
        examples: The conversations.
        machine: What computes.
    """
    total = parameter_count(loaded.model)
    count = sum(learned.values())
    config = json.loads((loaded.folder / "config.json").read_text("utf-8"))
    return {
        "recipe": settings_to_dict(recipe),
        "base": loaded.name,
        "base_folder": str(loaded.folder),
        "model_type": config.get("model_type"),
        "quantized": any(hasattr(module, "bits") for _, module in loaded.model.named_modules()),
        "runs_by": loaded.runs_by,
        "objective": recipe.train.objective,
        "method": recipe.adapter.method,
        "ranks": dict(adapters.ranks),
        "parameters": total if recipe.adapter.method == "full" else total - count,
        "learned_parameters": count,
        "vocabulary": loaded.tokenizer.vocabulary,
        "flops_per_token": flops_per_token(loaded.model, learned, recipe.adapter.method),
        "planned_steps": recipe.train.steps,
        "planned_tokens": planned_tokens(recipe, examples),
        "epochs": epochs(recipe, examples),
        "data": examples.summary(),
        **machine.describe(),
    }
