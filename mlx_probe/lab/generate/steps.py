"""Generation token by token, over a cache of keys and values.

mlx-lm's `generate_step` does the same for its own models. This one also serves a model that is
being trained, without the import of transformers, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mlx.core as mx

from mlx_probe.core.errors import CheckpointError

__all__ = ["generate_tokens", "no_numbers", "read_prompt"]

# Tokens of the prompt in one forward pass: the logits of a pass take this many times V numbers.
CHUNK = 512


def generate_tokens(
    model: Callable[..., mx.array],
    cache: Sequence[Any],
    prompt: Sequence[int],
    sample: Callable[[mx.array], mx.array],
    count: int,
) -> Iterator[int]:
    """Continue a prompt.

    While a token is on its way to the caller, the next one is being computed.

    Args:
        model: Takes tokens (1, T) and ``cache=``, and returns logits (1, T, V).
        cache: Keys and values of each layer, empty; see `KeyValueCache`.
        prompt: One token or more.
        sample: Takes logits (V,) and returns a token (1,); see `Sampler`.
        count: Tokens to generate.

    Yields:
        Tokens.

    Raises:
        CheckpointError: The model's logits are no numbers.
    """
    token = sample(read_prompt(model, cache, prompt)[0])
    mx.async_eval(token)  # type: ignore[no-untyped-call]
    for number in range(count):
        following = token
        if number + 1 < count:
            following = sample(model(token[None], cache=cache)[0, -1])
            mx.async_eval(following)  # type: ignore[no-untyped-call]
        value: Any = token.item()
        if value < 0:
            raise no_numbers()
        yield value
        token = following


def read_prompt(
    model: Callable[..., mx.array], cache: Sequence[Any], prompt: Sequence[int]
) -> mx.array:
    """Read a prompt into an empty cache, in passes of `CHUNK` tokens.

    Args:
        model: See `generate_tokens`.
        cache: See `generate_tokens`.
        prompt: One token or more.

    Returns:
        Logits after its last token, (1, V), not evaluated.
    """
    rest = mx.array(list(prompt), mx.int32)
    while rest.size > CHUNK:
        model(rest[None, :CHUNK], cache=cache)
        mx.eval([layer.state for layer in cache])
        rest = rest[CHUNK:]
    return model(rest[None], cache=cache)[:, -1]


def no_numbers() -> CheckpointError:
    """The error of a model whose logits are NaN or infinite."""
    return CheckpointError(
        "the model's logits are not numbers (NaN or infinity)",
        "Look for weights that are not finite with `mlx-probe analyze`",
    )
