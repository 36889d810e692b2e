"""The tokens that a run trains on: a folder that exists, or text that the run tokenizes itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.loader import Loader, TokenStream, windows_in_order
from mlx_probe.lab.data.manifest import MANIFEST, Manifest
from mlx_probe.lab.data.tokenizer import Tokenizer, load_tokenizer
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.progress import TrainProgress

__all__ = ["TrainingTokens", "open_tokens"]


@dataclass(frozen=True)
class TrainingTokens:
    """Tokens of both splits, and what they stand for.

    Attributes:
        folder: Where they are.
        manifest: What is there.
        tokenizer: Made them.
        vocabulary: Rows of the model's embedding.
    """

    folder: Path
    manifest: Manifest
    tokenizer: Tokenizer
    vocabulary: int

    def loader(self, batch: int, context: int, seed: int) -> Loader:
        """The training batches in their shuffled order."""
        return Loader(TokenStream(self.folder, "train", self.manifest), batch, context, seed)

    def validation(self, batch: int, context: int, tokens: int) -> Iterator[NDArray[np.integer]]:
        """The validation batches in order; see `windows_in_order`."""
        stream = TokenStream(self.folder, "validation", self.manifest)
        return windows_in_order(stream, batch, context, tokens)

    def token_bytes(self) -> NDArray[np.int32]:
        """UTF-8 bytes that each row of the embedding stands for, (vocabulary,)."""
        known = self.tokenizer.token_bytes()
        return np.pad(known, (0, self.vocabulary - len(known)))


def open_tokens(
    recipe: Recipe, out: Path, progress: TrainProgress, overwrite: bool
) -> TrainingTokens:
    """The tokens of a recipe; text that is no tokens yet is tokenized into `data` of the run.

    Args:
        recipe: Data, tokenizer, and the model's vocabulary.
        out: The run folder.
        progress: Follows the tokenizing.
        overwrite: Whether to replace tokens of other text or settings in `data`.

    Raises:
        ConfigError: The vocabularies of model and tokenizer do not fit.
        ProbeError: The text cannot be read, or has changed since it was tokenized.
    """
    sources, wanted = recipe.data.sources, recipe.model.vocabulary
    given = Path(sources[0])
    if len(sources) == 1 and (given / MANIFEST).is_file():
        folder, manifest = given, Manifest.read(given)
    else:
        # A folder of tokens needs none of what reads text.
        from mlx_probe.lab.data.tokenize import tokenize

        folder = out / "data"
        manifest = tokenize(
            recipe.data,
            recipe.tokenizer,
            wanted,
            folder,
            lambda done: progress.phase(done.title, done.done, done.total),
            overwrite,
        )
    tokenizer = load_tokenizer(folder / "tokenizer")
    if wanted and tokenizer.vocabulary > wanted:
        raise ConfigError(
            f"model.vocabulary is {wanted}, and the tokenizer of {folder} has "
            f"{tokenizer.vocabulary} tokens",
            f"Set model.vocabulary={tokenizer.vocabulary}, or 0 for all",
        )
    return TrainingTokens(folder, manifest, tokenizer, max(wanted, tokenizer.vocabulary))
