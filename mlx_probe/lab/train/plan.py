"""What a training run needs, before anything runs."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import mlx.core as mx

from mlx_probe.compute.backends.mlx.blas import VARIABLE, mlx_blas
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size
from mlx_probe.lab.device import (
    DeviceName,
    available_memory,
    compiles,
    device_label,
    use_device,
)
from mlx_probe.lab.model.architecture import ARCHITECTURES
from mlx_probe.lab.model.count import (
    COPIES,
    COPIES_OF_EXPONENTIAL,
    Memory,
    matrix_parameters,
    parameters,
    training_flops_per_token,
    training_memory,
)
from mlx_probe.lab.model.exponential import has_slow_exponential
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.facts import step_tokens
from mlx_probe.lab.train.machine import compile_steps
from mlx_probe.lab.train.rate import product_rate

__all__ = ["EFFICIENCY", "TIGHT", "TrainingPlan", "plan_training"]

# Share of the rate of products that steps reach, not compiled and compiled: medians of
# benchmarks/results/efficiency.json, from two shared cores of an AMD EPYC (Zen 5, November 2026).
# On a GPU nothing was measured: its time is that of the products alone.
EFFICIENCY = {"cpu": {False: 0.24, True: 0.28}, "gpu": {False: 1.0, True: 1.0}}
# Share of the memory above which a plan warns: other programs need some too.
TIGHT = 0.8


@dataclass(frozen=True)
class TrainingPlan:
    """What a training run needs.

    Attributes:
        family: "llama" or "qwen3".
        parameters: Numbers that are learned.
        matrix_parameters: Those that every token is multiplied with.
        steps: Updates.
        tokens_per_step: Tokens that a step predicts.
        tokens: Of all steps.
        flops_per_token: Operations of forward and backward pass.
        flops: Of all steps.
        memory: Bytes, by what holds them.
        available: Bytes of the machine, or of its GPU.
        device: Where MLX computes.
        blas: Library of the products on a CPU; None for MLX's own.
        compiled: Whether steps are compiled.
        compile_reason: Why, or why not.
        product_rate: Measured operations a second in products of the model's sizes.
        efficiency: Share of that rate that steps reach.
        least_seconds: Time of the products alone.
        seconds: Expected time of the steps; evaluations, samples and snapshots come on top.
        fits: Whether the memory is enough.
        warnings: What the user should know or change.
    """

    family: str
    parameters: int
    matrix_parameters: int
    steps: int
    tokens_per_step: int
    tokens: int
    flops_per_token: int
    flops: int
    memory: Memory
    available: int
    device: str
    blas: str | None
    compiled: bool
    compile_reason: str
    product_rate: float
    efficiency: float
    least_seconds: float
    seconds: float
    fits: bool
    warnings: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        described = asdict(self)
        described["memory"]["total"] = self.memory.total
        return {**described, "warnings": list(self.warnings)}


def plan_training(recipe: Recipe, device: DeviceName = "auto") -> TrainingPlan:
    """Count what a recipe needs, and time this machine's products for half a second.

    Args:
        recipe: All settings; the model's vocabulary is given.
        device: Where MLX would compute.

    Raises:
        ConfigError: The vocabulary is that of a tokenizer which is not there yet.
        BackendError: There is no such device.
    """
    model, train = recipe.model, recipe.train
    if model.vocabulary == 0:
        raise ConfigError(
            "model.vocabulary is 0: how many tokens the tokenizer has is not known yet",
            "Plan with a number, such as --set model.vocabulary=32000",
        )
    gpu = use_device(device).type == mx.gpu
    bfloat16 = train.dtype == "bfloat16" or (train.dtype == "auto" and gpu)
    tokens_per_step = step_tokens(recipe)
    tokens = tokens_per_step * train.steps
    per_token = training_flops_per_token(model)
    compiled, reason = compile_steps(train, per_token * tokens)
    memory = training_memory(
        model,
        train.batch,
        train.optimizer,
        bfloat16,
        train.gradient_checkpointing,
        COPIES_OF_EXPONENTIAL if compiled and has_slow_exponential() else COPIES,
    )
    available = available_memory(gpu)
    efficiency = EFFICIENCY["gpu" if gpu else "cpu"][compiled]
    rate = product_rate(model, train.batch * model.context, mx.bfloat16 if bfloat16 else mx.float32)
    return TrainingPlan(
        family=ARCHITECTURES[model.qk_norm][0],
        parameters=parameters(model),
        matrix_parameters=matrix_parameters(model),
        steps=train.steps,
        tokens_per_step=tokens_per_step,
        tokens=tokens,
        flops_per_token=per_token,
        flops=per_token * tokens,
        memory=memory,
        available=available,
        device=device_label(),
        blas=None if gpu else mlx_blas(),
        compiled=compiled,
        compile_reason=reason,
        product_rate=rate,
        efficiency=efficiency,
        least_seconds=per_token * tokens / rate,
        seconds=per_token * tokens / (rate * efficiency),
        fits=memory.total <= available,
        warnings=tuple(_warnings(recipe, memory, available, gpu)),
    )


def _warnings(recipe: Recipe, memory: Memory, available: int, gpu: bool) -> list[str]:
    """What the user should know or change."""
    warnings = []
    if memory.total > TIGHT * available:
        needs, has = format_size(memory.total), format_size(available)
        warnings.append(
            tr("it needs {needs} of memory, and this machine has {has}", needs=needs, has=has)
            + ": "
            + _remedy(recipe, memory)
        )
    if not gpu and recipe.train.dtype == "bfloat16":
        warnings.append(tr("bfloat16 is many times slower than float32 on a CPU: set train.dtype"))
    works, reason = compiles()
    if not works and recipe.train.compile != "never":
        warnings.append(
            tr("operations run one by one, which takes longer: {reason}", reason=reason)
        )
    if not gpu and sys.platform == "linux" and mlx_blas() is None:
        warnings.append(
            tr(
                "MLX multiplies by its own BLAS, 20 to 80 times slower than a tuned one: install "
                "libopenblas0-pthread, or set {variable}",
                variable=VARIABLE,
            )
        )
    return warnings


def _remedy(recipe: Recipe, memory: Memory) -> str:
    """The change that helps most."""
    train = recipe.train
    if memory.activations * 2 < memory.total:
        return tr("make the model smaller: model.layers, model.dim or model.hidden")
    if not train.gradient_checkpointing:
        return tr("set train.gradient_checkpointing=true, or a smaller train.batch")
    return tr("set a smaller train.batch, and train.accumulation for as many tokens in a step")
