"""What a run's plan and metadata say about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import parameters, training_flops_per_token
from mlx_probe.lab.settings import settings_to_dict
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.machine import Machine
from mlx_probe.lab.train.state import TrainState
from mlx_probe.lab.train.tokens import TrainingTokens
from mlx_probe.runs.exporters.metrics import read_metrics

__all__ = ["described_result", "described_run", "initial_values", "step_tokens"]


def step_tokens(recipe: Recipe) -> int:
    """Tokens that a step predicts."""
    return recipe.train.batch * recipe.train.accumulation * recipe.model.context


def described_run(
    recipe: Recipe, shape: ModelConfig, tokens: TrainingTokens, machine: Machine
) -> dict[str, Any]:
    """What is known before the first step, for the plan and the metadata.

    Args:
        recipe: All settings.
        shape: The model with its vocabulary.
        tokens: The text.
        machine: What computes.
    """
    planned = step_tokens(recipe) * recipe.train.steps
    described = machine.describe()
    return {
        "recipe": settings_to_dict(recipe),
        "parameters": parameters(shape),
        "vocabulary": shape.vocabulary,
        "flops_per_token": training_flops_per_token(shape),
        "planned_steps": recipe.train.steps,
        "planned_tokens": planned,
        "epochs": planned / max(1, tokens.manifest.splits["train"].tokens),
        "data": tokens.manifest.summary(),
        **described,
    }


def described_result(state: TrainState, planned_steps: int) -> dict[str, Any]:
    """How a run ended, for the metadata.

    Args:
        state: After the last step.
        planned_steps: Steps that were planned.
    """
    return {
        "tokens": state.tokens,
        "steps_done": state.step,
        "stopped_early": state.step < planned_steps,
        "final": state.latest,
        "best": state.best,
        "training_seconds": state.seconds,
    }


def initial_values(run: Path, state: TrainState) -> dict[str, Any]:
    """The evaluation before the first step, with the values of the latest one."""
    first = next(iter(read_metrics(run)))
    return {name: first.get(name) for name in state.latest or ()}
