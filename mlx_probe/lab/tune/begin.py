"""What stands before the first step: the model with what it learns, and the conversations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlx.nn as nn

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.generate.adapted import find_adapter
from mlx_probe.lab.generate.loading import LoadedModel, load_model
from mlx_probe.lab.model.mini_llm import MiniLLM
from mlx_probe.lab.tune.adapters import Adapters, add_adapters
from mlx_probe.lab.tune.checkpointing import checkpoint_blocks
from mlx_probe.lab.tune.config import TuneRecipe
from mlx_probe.lab.tune.example import Examples
from mlx_probe.lab.tune.examples import read_examples
from mlx_probe.lab.tune.grpo.prompts import Prompts, read_prompts
from mlx_probe.lab.tune.memory import Shape, read_sizes
from mlx_probe.lab.tune.weights import cast, to_float32, trainable

__all__ = ["Beginning", "begin"]

# Tokens of an example where the model does not say what it was trained on, and at most by default.
DEFAULT_TOKENS = 2048


@dataclass(frozen=True)
class Beginning:
    """A tuning before its first step.

    Attributes:
        loaded: The base, with its adapters.
        adapters: What is learned.
        learned: Numbers of each trainable parameter by name: arrays would stay in memory.
        examples: The conversations, or their prompts.
        sizes: Of the model.
    """

    loaded: LoadedModel
    adapters: Adapters
    learned: dict[str, int]
    examples: Examples | Prompts
    sizes: Shape


def begin(
    recipe: TuneRecipe,
    model: str,
    data: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Beginning:
    """Open model and conversations; see `tune` for arguments and errors.

    Args:
        recipe: What is learned, and how.
        model: The base.
        data: Folder with train.jsonl and valid.jsonl.
        on_progress: See `read_conversations`.

    Raises:
        ConfigError: The base is an adapter.
    """
    if find_adapter(model):
        # Neither mlx-lm nor `compare` would know the base of the new adapter.
        raise ConfigError(
            f"{model} is an adapter, and an adapter on top of it would have no base",
            "Merge it with `mlx-probe merge BASE ADAPTER --out DIR`, and tune that model",
        )
    loaded = load_model(model)
    network, config = loaded.model, recipe.train
    limit = recipe.data.max_tokens or min(loaded.context or DEFAULT_TOKENS, DEFAULT_TOKENS)
    examples = _examples(recipe, data, loaded, limit, on_progress)
    if config.dtype != "auto":
        cast(network, config.dtype)
    adapters = add_adapters(network, recipe.adapter, config.dropout, config.seed)
    to_float32(network)
    if config.gradient_checkpointing:
        _checkpoint(network)
    network.train()
    learned = {name: each.size for name, each in trainable(network).items()}
    return Beginning(loaded, adapters, learned, examples, read_sizes(loaded.folder))


def _examples(
    recipe: TuneRecipe,
    data: Path,
    loaded: LoadedModel,
    limit: int,
    on_progress: Callable[[int, int], None],
) -> Examples | Prompts:
    if recipe.train.objective == "sft":
        cut = recipe.data.too_long == "cut"
        return read_examples(data, loaded.tokenizer, limit, cut, on_progress)
    length = recipe.grpo.answer_tokens
    return read_prompts(data, loaded.tokenizer, limit, length, recipe.answers, on_progress)


def _checkpoint(network: nn.Module) -> None:
    if isinstance(network, MiniLLM):
        network.checkpointing = True
    else:
        checkpoint_blocks(network)
