"""The text that a mixture learns from, as tokens of its own tokenizer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.loader import Loader
from mlx_probe.lab.data.manifest import SplitName
from mlx_probe.lab.generate.loading import LoadedModel
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.moe.train.config import MixtureRecipe
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.progress import TrainProgress
from mlx_probe.lab.train.tokens import TrainingTokens, open_tokens

__all__ = ["open_training_text"]

SPLITS: tuple[SplitName, ...] = ("train", "validation")


def open_training_text(
    recipe: MixtureRecipe, loaded: LoadedModel, out: Path, progress: TrainProgress, anew: bool
) -> tuple[TrainingTokens, Loader]:
    """Tokens of both splits, and the training batches.

    Args:
        recipe: Its text, and how long sequences are.
        loaded: The mixture: its tokenizer and context.
        out: The run folder.
        progress: Follows the tokenizing.
        anew: See `open_tokens`.

    Raises:
        ConfigError: The text is shorter than a batch, sequences are longer than the mixture's
            context, or the tokens are another tokenizer's.
        ProbeError: The text cannot be read.
    """
    config = recipe.train
    if loaded.context and config.context > loaded.context:
        raise ConfigError(
            f"train.context is {config.context}, and {loaded.name} was trained on {loaded.context}",
            f"Set train.context={loaded.context} or less",
        )
    kind = TokenizerConfig(kind=str(loaded.tokenizer.folder))
    # Of the model only its vocabulary counts: that of the tokenizer.
    wanted = Recipe(model=ModelConfig(vocabulary=0), tokenizer=kind, data=recipe.data)
    tokens = open_tokens(wanted, out, progress, anew)
    if tokens.tokenizer.fingerprint != loaded.tokenizer.fingerprint:
        raise ConfigError(
            f"the tokens were made by {tokens.tokenizer.folder}, and {loaded.name} has another "
            "tokenizer",
            "Give the text itself with --data, or tokenize it with the model's tokenizer",
        )
    for split in SPLITS:
        count = tokens.manifest.splits[split].tokens
        if count <= config.context:
            raise ConfigError(
                f"the {split} text has {count} tokens, fewer than one sequence of "
                f"{config.context} + 1",
                "Give more text with --data, or lower train.context",
            )
    loader = tokens.loader(config.batch, config.context, config.seed)
    if loader.windows < config.batch:
        raise ConfigError(
            f"the training text has {loader.windows} sequences of {config.context} tokens, fewer "
            f"than train.batch = {config.batch}",
            "Give more text with --data, or lower train.batch or train.context",
        )
    # The embedding may have more rows than the tokenizer has tokens.
    return replace(tokens, vocabulary=loaded.tokenizer.vocabulary), loader
