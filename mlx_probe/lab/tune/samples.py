"""Answers that a model gives while it is tuned."""

from __future__ import annotations

from collections.abc import Callable

import mlx.nn as nn

from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.generate.config import SamplingConfig
from mlx_probe.lab.generate.live import sample_tokens
from mlx_probe.lab.tune.config import TuneConfig

__all__ = ["make_answers"]


def make_answers(
    model: nn.Module, tokenizer: Tokenizer, config: TuneConfig, context: int
) -> Callable[[int], str] | None:
    """What gives the most likely answer to the prompt after a step; None if there are no samples.

    Args:
        model: The weights.
        tokenizer: Of the model.
        config: Prompt and length.
        context: Tokens that the model sees at most.

    Raises:
        ConfigError: The chat template does not take the prompt.
    """
    if not config.sample_every:
        return None
    messages = [{"role": "user", "content": config.sample_prompt}]
    prompt = tokenizer.encode_special(tokenizer.chat(messages))
    stops = set(tokenizer.stop_ids)

    def answer(step: int) -> str:
        greedy = SamplingConfig(temperature=0.0)
        tokens = sample_tokens(model, prompt, config.sample_tokens, context, greedy)
        end = next((i for i, token in enumerate(tokens) if token in stops), len(tokens))
        return tokenizer.decode(tokens[:end])

    return answer
