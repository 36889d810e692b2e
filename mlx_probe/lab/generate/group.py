"""Several answers to one prompt, drawn side by side.

The prompt is read once. Its keys and values are then copied for each answer, and a row leaves the
batch when its answer ends. `generate_tokens` makes one answer, and computes ahead while its caller
works; here the caller has to know which rows have ended before the next token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from numpy.typing import NDArray

from mlx_probe.lab.generate.cache import new_cache
from mlx_probe.lab.generate.steps import no_numbers, read_prompt

__all__ = ["Drawn", "draw_group"]


@dataclass(frozen=True)
class Drawn:
    """An answer.

    Attributes:
        tokens: (n,) int32, the one that ended it included.
        logprobs: (n,) float32, logarithm of each token's probability where it was drawn.
        is_finished: Whether a stop token ended it.
    """

    tokens: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    is_finished: bool


def draw_group(
    model: Any,
    prompt: Sequence[int],
    group: int,
    count: int,
    temperature: float,
    seed: Sequence[int],
    stops: frozenset[int],
    before_each: Callable[[], None] = lambda: None,
) -> list[Drawn]:
    """Draw answers from softmax(logits / temperature).

    The same seed, weights and device give the same answers. Nothing is drawn from MLX's global
    random state.

    Args:
        model: Takes tokens (B, T) and ``cache=``, and returns logits (B, T, V).
        prompt: One token or more.
        group: Answers.
        count: Tokens of an answer, at most.
        temperature: 0 takes the most likely token.
        seed: Of the draws.
        stops: Tokens that end an answer.
        before_each: Called before each token; may raise to end the drawing.

    Raises:
        CheckpointError: The model's logits are no numbers.
    """
    cache = new_cache(model)
    last = read_prompt(model, cache, prompt)
    logits = mx.broadcast_to(last, (group, last.shape[-1]))
    if group > 1:
        _each(cache, lambda array: mx.repeat(array, group, axis=0))
    state = np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)
    key = mx.random.key(int(state[0]))
    # Of each answer, whether it is in the batch or not.
    tokens: list[list[int]] = [[] for _ in range(group)]
    logprobs: list[list[float]] = [[] for _ in range(group)]
    rows = list(range(group))
    for number in range(count):
        before_each()
        key, own = mx.random.split(key)
        chosen, logs = _choose(logits, temperature, own)
        values: list[int] = np.array(chosen).tolist()
        sizes = np.array(logs)
        if not np.isfinite(sizes).all():
            raise no_numbers()
        for row, token, size in zip(rows, values, sizes.tolist(), strict=True):
            tokens[row].append(token)
            logprobs[row].append(size)
        going = [at for at, token in enumerate(values) if token not in stops]
        if not going or number + 1 == count:
            break
        if len(going) < len(rows):
            rows = [rows[at] for at in going]
            kept = mx.array(going)
            chosen = chosen[kept]
            _each(cache, lambda array, kept=kept: array[kept])  # type: ignore[misc]
        logits = model(chosen[:, None], cache=cache)[:, -1]
    return [
        Drawn(np.array(made, np.int32), np.array(logs, np.float32), made[-1] in stops)
        for made, logs in zip(tokens, logprobs, strict=True)
    ]


def _choose(logits: mx.array, temperature: float, key: mx.array) -> tuple[mx.array, mx.array]:
    """A token for each row, and the logarithm of its probability, (B,) each."""
    scores = logits.astype(mx.float32)
    if temperature:
        scores = scores / temperature
        chosen = mx.random.categorical(scores, key=key)
    else:
        chosen = mx.argmax(scores, axis=-1)
    own = mx.take_along_axis(scores, chosen[:, None], axis=-1).squeeze(-1)
    return chosen.astype(mx.int32), own - mx.logsumexp(scores, axis=-1)


def _each(cache: Sequence[Any], change: Callable[[mx.array], mx.array]) -> None:
    """Change the rows of all that a cache holds, whatever its kind."""

    def changed(array: Any) -> Any:
        return change(array) if isinstance(array, mx.array) and array.ndim else array

    for layer in cache:
        layer.state = tree_map(changed, layer.state)
