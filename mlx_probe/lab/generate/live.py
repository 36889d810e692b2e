"""Text from a model that is being trained."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.nn as nn

from mlx_probe.lab.generate.cache import new_cache
from mlx_probe.lab.generate.config import SamplingConfig
from mlx_probe.lab.generate.sampling import Sampler
from mlx_probe.lab.generate.steps import generate_tokens

__all__ = ["sample_tokens"]


def sample_tokens(
    model: nn.Module, prompt: Sequence[int], count: int, context: int, sampling: SamplingConfig
) -> list[int]:
    """Continue a prompt with a model in memory.

    Neither the weights nor MLX's global random state change. Where the context is full, the
    later half of it goes on as the prompt, so that every token is predicted at a position that
    the model was trained on.

    Args:
        model: Takes tokens (1, T) and ``cache=``, and returns logits (1, T, V).
        prompt: One token or more; the last ``context`` of them count.
        count: Tokens to generate.
        context: Positions that the model was trained on, 2 or more.
        sampling: How tokens are chosen.

    Raises:
        CheckpointError: The model's logits are no numbers.
    """
    was_training = model.training
    model.eval()
    try:
        tokens = list(prompt[-context:])
        sampler = Sampler(sampling, tokens)
        made: list[int] = []
        while len(made) < count:
            # The token after a full context may still be drawn.
            room = min(count - len(made), context - len(tokens) + 1)
            new = list(generate_tokens(model, new_cache(model), tokens, sampler, room))
            made += new
            tokens = [*tokens, *new][-max(context // 2, 1) :]
        return made
    finally:
        model.train(was_training)
