"""How much memory a step takes, before it is made.

    weights      all of the model's, adapters included
    learning     the optimizer's state, and the gradients: those of a step and those that are
                 being summed
    activations  what the forward pass keeps for the backward pass, for the largest batch, and the
                 scores of the head where a token is learned; with GRPO at least the keys and
                 values of a group of answers

The counts of the activations follow MLX's own peak memory on a CPU (`benchmarks/tuning.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.units import format_size
from mlx_probe.lab.device import available_memory
from mlx_probe.lab.tune.batches import Batch, longest_batch
from mlx_probe.lab.tune.config import TuneRecipe
from mlx_probe.lab.tune.example import Examples
from mlx_probe.lab.tune.grpo.prompts import Prompts
from mlx_probe.lab.tune.weights import number_type, trainable

__all__ = [
    "Shape",
    "TuningMemory",
    "memory_problem",
    "predict_memory",
    "read_sizes",
    "require_memory",
]

# Bytes of a number of the optimizer, of gradients, and of the head's scores.
FLOAT32 = 4
# Arrays of one width that a block keeps for each token: of the stream, its norms, queries and the
# two projections back; of keys and values; of gate, other projection, their product and the like.
OF_STREAM, OF_KEYS, OF_HIDDEN = 7.5, 3.0, 4.0
# Scores of attention after softmax, for each head and each position.
OF_SCORES = 1.1
# Share of a block's arrays that are there with gradient checkpointing, by MLX 0.32 on a CPU: it
# computes many blocks again before it needs them.
OF_AGAIN = 0.7
# Arrays of the size of the head's scores that are there at once.
OF_HEAD = 4.0
# Keys and values while answers are drawn: those before and after an answer has ended.
OF_CACHE = 2.0


@dataclass(frozen=True)
class Shape:
    """What decides the activations of a model, in the terms of its config.json.

    Attributes:
        dim: Width of the stream.
        layers: Blocks.
        heads: Query heads.
        kv: Width of keys, and of values.
        hidden: Width inside the feed-forward block, over all experts that a token visits.
        vocabulary: Rows of the head.
    """

    dim: int
    layers: int
    heads: int
    kv: int
    hidden: int
    vocabulary: int


@dataclass(frozen=True)
class TuningMemory:
    """Bytes that a step takes at its peak.

    Attributes:
        weights: See the module.
        learning: See the module.
        activations: See the module.
        rows: Examples of the largest batch.
        length: Their padded length.
        answers: Learned tokens in it.
        available: Bytes of the machine, or of its GPU.
    """

    weights: int
    learning: int
    activations: int
    rows: int
    length: int
    answers: int
    available: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.learning + self.activations

    @property
    def fits(self) -> bool:
        """Whether there is as much."""
        return self.total <= self.available

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "total": self.total}


def read_sizes(folder: Path) -> Shape:
    """The sizes in a model's config.json; those of text where there are several."""
    config: Mapping[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    text = config.get("text_config")
    config = text if isinstance(text, dict) else config
    dim, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    width = int(config.get("head_dim") or dim // heads)
    hidden = int(config.get("intermediate_size") or 4 * dim)
    if chosen := config.get("num_experts_per_tok"):
        hidden = int(chosen) * int(config.get("moe_intermediate_size") or hidden)
    return Shape(
        dim=dim,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv=width * int(config.get("num_key_value_heads") or heads),
        hidden=hidden,
        vocabulary=int(config["vocab_size"]),
    )


def predict_memory(
    recipe: TuneRecipe, shape: Shape, network: nn.Module, examples: Examples | Prompts
) -> TuningMemory:
    """The peak memory of the steps.

    Args:
        recipe: Batch, gradient checkpointing, dropout, accumulation, method.
        shape: Of the model.
        network: With its adapters.
        examples: The conversations, or their prompts.
    """
    train = recipe.train
    batch = longest_batch(examples.bounds, train.batch, recipe.data.bucket)
    learned = sum(each.size for each in trainable(network).values())
    weights = sum(each.nbytes for _, each in tree_flatten(network.parameters()))
    size = number_type(network).size
    copies = 2 if size < FLOAT32 else 1
    states = 1 if train.optimizer == "muon" else 2
    adds = train.accumulation > 1 or train.objective == "grpo"
    sums = 2 if adds or recipe.adapter.method != "full" else 1
    rows, length = batch.tokens.shape
    activations = _activations(recipe, shape, batch, size)
    reference = 0
    if train.objective == "grpo":
        activations = max(activations, _answers(recipe, shape, length, size))
        # What is learned as it was before tuning.
        reference = learned if recipe.grpo.kl else 0
    return TuningMemory(
        weights=weights,
        learning=(states + sums) * learned * FLOAT32
        + (copies - 1) * learned * size
        + reference * FLOAT32,
        activations=activations,
        rows=rows,
        length=length,
        answers=batch.learned,
        available=available_memory(mx.default_device().type == mx.gpu),
    )


def memory_problem(
    recipe: TuneRecipe, shape: Shape, network: nn.Module, examples: Examples | Prompts
) -> ConfigError | None:
    """What is wrong where a step does not fit, with the first change that helps; else None.

    Args:
        recipe: See `predict_memory`.
        shape: See `predict_memory`.
        network: See `predict_memory`.
        examples: See `predict_memory`.
    """
    memory = predict_memory(recipe, shape, network, examples)
    if memory.fits:
        return None
    needs, has = format_size(memory.total), format_size(memory.available)
    fact = f"a step needs {needs} of memory, and there are {has}"

    def fits(changed: TuneRecipe) -> bool:
        return predict_memory(changed, shape, network, examples).fits

    again = replace(recipe, train=replace(recipe.train, gradient_checkpointing=True))
    if fits(again):
        return ConfigError(fact, "Set train.gradient_checkpointing=true")
    for batch in _smaller(recipe.train.batch):
        if fits(replace(recipe, train=replace(recipe.train, batch=batch))):
            return ConfigError(fact, _fewer_rows(recipe, batch))
    for batch in _smaller(recipe.train.batch):
        if fits(replace(again, train=replace(again.train, batch=batch))):
            return ConfigError(fact, _fewer_rows(again, batch))
    if recipe.train.objective == "grpo":
        return ConfigError(fact, "Lower grpo.group or grpo.answer_tokens")
    if recipe.adapter.method == "full":
        return ConfigError(fact, "Set adapter.method=lora")
    return ConfigError(fact, "Lower data.max_tokens, or choose a quantized or a smaller model")


def require_memory(
    recipe: TuneRecipe, shape: Shape, network: nn.Module, examples: Examples | Prompts
) -> TuningMemory:
    """The peak memory of the steps, which fits.

    Raises:
        ConfigError: It does not; the remedy says what to change.
    """
    problem = memory_problem(recipe, shape, network, examples)
    if problem is not None:
        raise problem
    return predict_memory(recipe, shape, network, examples)


def _fewer_rows(recipe: TuneRecipe, batch: int) -> str:
    """What to set for fewer rows in a forward pass, and as many in a step."""
    train = recipe.train
    rows = train.batch * train.accumulation // batch
    if train.objective == "grpo":
        if train.gradient_checkpointing:
            return f"Set train.gradient_checkpointing=true and train.batch={batch}"
        return f"Set train.batch={batch}"
    if train.gradient_checkpointing:
        return (
            f"Set train.gradient_checkpointing=true, train.batch={batch} and "
            f"train.accumulation={rows}"
        )
    return f"Set train.batch={batch} and train.accumulation={rows}"


def _smaller(batch: int) -> list[int]:
    """A half, a quarter and so on."""
    return [batch >> k for k in range(1, batch.bit_length())]


def _activations(recipe: TuneRecipe, shape: Shape, batch: Batch, size: int) -> int:
    rows, length = batch.tokens.shape
    block = (
        OF_STREAM * shape.dim
        + OF_KEYS * shape.kv
        + OF_HIDDEN * shape.hidden
        + OF_SCORES * shape.heads * length
    )
    if recipe.train.dropout and recipe.adapter.method != "full":
        # What goes into the factors is no longer what goes into the matrices.
        block += 6 * shape.dim + shape.hidden
    tuned = min(recipe.adapter.layers or shape.layers, shape.layers)
    kept = tuned * block * (OF_AGAIN if recipe.train.gradient_checkpointing else 1.0)
    numbers = rows * length * (kept + 2 * shape.dim)
    head = len(batch.positions) * shape.vocabulary * OF_HEAD
    return round(numbers * size + head * FLOAT32)


def _answers(recipe: TuneRecipe, shape: Shape, length: int, size: int) -> int:
    """Bytes while a group of answers is drawn."""
    cache = 2 * shape.kv * shape.layers * length * size * OF_CACHE
    return round(recipe.grpo.group * (cache + shape.vocabulary * OF_HEAD * FLOAT32))
