"""Samples of text while a model learns, in samples.jsonl.

The random numbers are seeded by the run's seed and the step, and MLX's global random state stays
as it is: sampling changes no number of the training, and a resumed run writes the same samples.
"""

from __future__ import annotations

import mlx.nn as nn
import numpy as np

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.generate.config import SamplingConfig
from mlx_probe.lab.generate.live import sample_tokens
from mlx_probe.lab.train.config import TrainConfig

__all__ = ["TEMPERATURE", "TextSampler", "make_sampler"]

TEMPERATURE = 0.8


class TextSampler:
    """Writes the samples of a run.

    Args:
        model: The weights.
        tokenizer: Of the model.
        config: Prompt, length and seed.
        context: Tokens that the model sees at most.

    Raises:
        ConfigError: The prompt is empty, and the tokenizer has no token that begins a text.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Tokenizer, config: TrainConfig, context: int
    ) -> None:
        self._model, self._tokenizer, self._config = model, tokenizer, config
        self._context = context
        # Without a prompt a text begins after the end of another.
        first = [token for token in (tokenizer.bos_id, tokenizer.eos_id) if token is not None][:1]
        self._prompt = tokenizer.encode(config.sample_prompt) or first
        if not self._prompt:
            raise ConfigError(
                f"train.sample_prompt is empty, and the tokenizer of {tokenizer.folder} has "
                "no token that begins a text",
                "Set train.sample_prompt, or train.sample_every=0 for no samples",
            )

    def __call__(self, step: int) -> str:
        """The text that follows the prompt after a step."""
        config = self._config
        (seed,) = np.random.SeedSequence([config.seed, step]).generate_state(1, np.uint64)
        sampling = SamplingConfig(temperature=TEMPERATURE, seed=int(seed))
        tokens = sample_tokens(
            self._model, self._prompt, config.sample_tokens, self._context, sampling
        )
        return self._tokenizer.decode(tokens)


def make_sampler(
    model: nn.Module, tokenizer: Tokenizer, config: TrainConfig, context: int
) -> TextSampler | None:
    """The `TextSampler` of a run; None if it has no samples."""
    return TextSampler(model, tokenizer, config, context) if config.sample_every else None
