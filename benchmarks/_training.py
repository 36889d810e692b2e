"""Training runs by `mlx-probe train`, and what they say over several seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from _processes import PROBE, run

from mlx_probe.lab.data.tokenize import tokenize
from mlx_probe.lab.model.count import parameter_shapes, training_flops_per_token
from mlx_probe.lab.settings import read_settings
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.polar_express import STEPS

__all__ = ["CONFIGS", "Trained", "flops_per_step", "interval", "recipe_of", "tokenized", "trained"]

CONFIGS = Path(__file__).parents[1] / "configs" / "train"

# Quantiles .975 of Student's t for 1, 2 ... degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class Trained:
    """A training run.

    Attributes:
        bits_per_byte: Of the validation text, after the last step.
        seconds: Of the steps alone.
        whole: Of the command, from start to end.
        tokens: That it saw.
    """

    bits_per_byte: float
    seconds: float
    whole: float
    tokens: int


def recipe_of(config: Path, changes: Sequence[str]) -> Recipe:
    """A preset with changes."""
    return read_settings(Recipe, config, changes)


def tokenized(recipe: Recipe, text: str | None, folder: Path) -> Path:
    """The recipe's text, or another, as tokens in a folder."""
    data = replace(recipe.data, sources=(text,)) if text else recipe.data
    tokenize(data, recipe.tokenizer, recipe.model.vocabulary, folder)
    return folder


def trained(config: Path, changes: Sequence[str], tokens: Path, out: Path) -> Trained:
    """Run `mlx-probe train` to its end, in a process of its own."""
    words = [word for change in changes for word in ("--set", change)]
    used = run([PROBE, "train", "--config", config, "--data", tokens, *words, "--out", out])
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps, before, seconds = lines[1:], 0, 0.0
    for line in steps:
        seconds += (line["tokens"] - before) / line["tokens_per_second"]
        before = line["tokens"]
    return Trained(steps[-1]["val_bpb"], seconds, used.seconds, before)


def flops_per_step(recipe: Recipe) -> int:
    """Operations of all matrix products of a step: forward, backward, and those of Muon.

    For a matrix of m x n, m <= n, each of Muon's polynomials takes x x^T (2 m^2 n), the square of
    that (2 m^3) and its product with x (2 m^2 n).
    """
    model, config = recipe.model, recipe.train
    tokens = config.batch * config.accumulation * model.context
    passes = training_flops_per_token(model) * tokens
    if config.optimizer != "muon":
        return passes
    sides = [
        sorted(shape)
        for name, shape in parameter_shapes(model).items()
        if ".layers." in name and len(shape) == 2
    ]
    return passes + STEPS * sum(4 * m * m * n + 2 * m**3 for m, n in sides)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval by Student's t; 2 to 10 values."""
    half = _STUDENT[len(values) - 2] * stdev(values) / math.sqrt(len(values))
    return mean(values), half
