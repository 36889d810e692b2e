"""What a tuning needs, before anything is trained."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.lab.device import DeviceName, device_label, use_device
from mlx_probe.lab.tune.begin import begin
from mlx_probe.lab.tune.config import TuneRecipe
from mlx_probe.lab.tune.facts import epochs, parameter_count, planned_tokens
from mlx_probe.lab.tune.memory import TuningMemory, memory_problem, predict_memory

__all__ = ["TuningPlan", "plan_tuning"]


@dataclass(frozen=True)
class TuningPlan:
    """What a tuning needs.

    Attributes:
        base: Reference of the model.
        objective: "sft" or "grpo".
        method: What is learned.
        parameters: Of the model, without adapters.
        learned_parameters: Numbers that are learned.
        steps: Updates.
        tokens: Tokens that are read in all steps.
        epochs: How often each example is learned from.
        data: Counts of the conversations.
        memory: Bytes of a step at its peak.
        device: Where MLX computes.
        fits: Whether the memory is enough.
        problem: What is wrong where it is not.
        remedy: What to change then.
    """

    base: str
    objective: str
    method: str
    parameters: int
    learned_parameters: int
    steps: int
    tokens: int
    epochs: float
    data: dict[str, Any]
    memory: TuningMemory
    device: str
    fits: bool
    problem: str | None
    remedy: str | None

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "memory": self.memory.describe()}


def plan_tuning(
    recipe: TuneRecipe,
    model: str | os.PathLike[str],
    data: str | Path,
    device: DeviceName = "auto",
) -> TuningPlan:
    """Read the conversations and the model, and count what tuning needs. Nothing is written.

    Args:
        recipe: What is learned, and how.
        model: The base.
        data: Folder with train.jsonl and valid.jsonl.
        device: Where MLX would compute.

    Raises:
        ProbeError: As in `tune`, but for too little memory.
    """
    use_device(device)
    began = begin(recipe, os.fspath(model), Path(data))
    arguments = recipe, began.sizes, began.loaded.model, began.examples
    memory, problem = predict_memory(*arguments), memory_problem(*arguments)
    learned = sum(began.learned.values())
    total = parameter_count(began.loaded.model)
    return TuningPlan(
        base=began.loaded.name,
        objective=recipe.train.objective,
        method=recipe.adapter.method,
        parameters=total if recipe.adapter.method == "full" else total - learned,
        learned_parameters=learned,
        steps=recipe.train.steps,
        tokens=planned_tokens(recipe, began.examples),
        epochs=epochs(recipe, began.examples),
        data=began.examples.summary(),
        memory=memory,
        device=device_label(),
        fits=memory.fits,
        problem=None if problem is None else problem.fact,
        remedy=None if problem is None else problem.remedy,
    )
