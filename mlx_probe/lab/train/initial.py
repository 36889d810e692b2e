"""The model that training begins with, where it does not begin with new weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.data.tokenizer import Tokenizer, load_tokenizer
from mlx_probe.lab.generate.folder import find_model_folder, tokenizer_folder
from mlx_probe.lab.model.architecture import read_config
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.layout import load_weights
from mlx_probe.lab.train.checkpoint import is_checkpoint, read_checkpoint
from mlx_probe.lab.train.config import Recipe

__all__ = ["Initial", "load_float32", "open_initial"]


@dataclass(frozen=True)
class Initial:
    """A model to go on from.

    Attributes:
        reference: As the user wrote it.
        shape: Of the model.
        tokenizer: Of the model.
        read: Reads the weights by name, as they are stored.
    """

    reference: str
    shape: ModelConfig
    tokenizer: Tokenizer
    read: Callable[[], dict[str, mx.array]]

    def adapt(self, recipe: Recipe) -> Recipe:
        """A recipe with this model's shape and tokenizer.

        The recipe's context stays if the model's is longer: shorter sequences take less time.
        """
        context = min(recipe.model.context, self.shape.context)
        kind = str(self.tokenizer.folder)
        return replace(
            recipe,
            model=replace(self.shape, context=context),
            tokenizer=replace(recipe.tokenizer, kind=kind),
        )

    def refuse_other(self, tokenizer: Tokenizer) -> None:
        """Refuse tokens that the model does not know.

        Args:
            tokenizer: The one that made them.

        Raises:
            ConfigError: It is not the model's.
        """
        if tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise ConfigError(
                f"the tokens were made by {tokenizer.folder}, and {self.reference} has another "
                "tokenizer",
                "Give the text itself with --data, or tokenize it with the model's tokenizer",
            )


def open_initial(reference: str) -> Initial:
    """Find a model.

    Args:
        reference: A model reference, or of a training run: the folder, if it is finished, a
            snapshot, or a checkpoint.

    Raises:
        SourceError: There is none, or it has no tokenizer.
        CheckpointError: It is damaged, or no model of this kind.
    """
    path = Path(reference)
    if is_checkpoint(path):
        saved = read_checkpoint(path)
        try:
            shape = ModelConfig(**saved.about["model"])
            tokenizer = load_tokenizer(saved.about["tokenizer"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} does not say which model it is of", "Give the run's folder `model`"
            ) from error
        return Initial(reference, shape, tokenizer, lambda: saved.weights)
    folder = find_model_folder(reference)
    shape = read_config(folder)
    tokenizer = load_tokenizer(tokenizer_folder(folder))
    return Initial(reference, shape, tokenizer, lambda: load_weights(folder, shape))


def load_float32(model: nn.Module, weights: Mapping[str, mx.array]) -> None:
    """Put weights into a model: the optimizer needs more digits than 16 bits have.

    Args:
        model: Has these parameters.
        weights: By name, of any type.
    """
    model.load_weights([(name, each.astype(mx.float32)) for name, each in weights.items()])
