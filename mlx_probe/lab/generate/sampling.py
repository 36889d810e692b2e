"""From logits to the next token.

mlx-lm's samplers are not used: `apply_top_p` keeps every token that ties with the last one of the
nucleus (all eight of eight equal tokens at p = 0.5), `apply_top_k` refuses a k as large as the
vocabulary, the filters are compiled, which needs a C++ compiler on a CPU, and all of them draw
from MLX's global random state, which belongs to a training that runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import mlx.core as mx

from mlx_probe.lab.generate.config import SamplingConfig

__all__ = ["Sampler", "keep_min_p", "keep_top_k", "keep_top_p", "penalize"]

# What float32 sums of probabilities are off by: a set whose probability is that close to p has
# reached it.
TOLERANCE = 1e-6

# Terms of one running sum: errors grow with the square root of blocks instead of tokens.
BLOCK = 256


def penalize(logits: mx.array, seen: mx.array, penalty: float) -> mx.array:
    """Make tokens that were there before less likely.

    x / penalty for x > 0, x * penalty otherwise. Keskar et al. 2019, "CTRL: a conditional
    transformer language model for controllable generation", section 4.1, which only divides:
    that would make a token of negative logit more likely.

    Args:
        logits: (..., V).
        seen: (V,), whether a token was there before.
        penalty: 1 changes nothing.
    """
    changed = mx.where(logits > 0, logits / penalty, logits * penalty)
    return mx.where(seen, changed, logits)


def keep_top_k(logits: mx.array, k: int) -> mx.array:
    """Keep the k most likely tokens; of equal ones those with the smallest numbers.

    Fan et al. 2018, "Hierarchical neural story generation", section 5.1.

    Args:
        logits: (..., V).
        k: V and more keep all.

    Returns:
        The logits, -inf for the others.
    """
    if k >= logits.shape[-1]:
        return logits
    return _keep(logits, mx.sort(-logits, axis=-1), mx.array([k]))


def keep_top_p(logits: mx.array, p: float) -> mx.array:
    """Keep the nucleus: the smallest set of tokens whose probability is p or more.

    Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1. Of equal
    tokens those with the smallest numbers come first.

    Args:
        logits: (..., V).
        p: 1 keeps all.

    Returns:
        The logits, -inf for the others.
    """
    if p >= 1:
        return logits
    falling = mx.sort(-logits, axis=-1)
    weights = mx.exp(falling[..., :1] - falling)
    above = _sum_before(weights)
    # Not `softmax`, whose one long sum is off by 5e-5 at 150,000 tokens.
    above = above / (above[..., -1:] + weights[..., -1:])
    # The first token has nothing above it and stays whatever p is.
    count = mx.maximum((above < p - TOLERANCE).sum(axis=-1, keepdims=True), 1)
    return _keep(logits, falling, count)


def keep_min_p(logits: mx.array, p: float) -> mx.array:
    """Keep the tokens whose probability is at least p times the largest one's.

    Nguyen et al. 2024, "Turning up the heat: min-p sampling for creative and coherent LLM
    outputs", section 3.

    Args:
        logits: (..., V).
        p: 0 keeps all.

    Returns:
        The logits, -inf for the others.
    """
    if p <= 0:
        return logits
    least = logits.max(axis=-1, keepdims=True) + math.log(p)
    return mx.where(logits >= least, logits, -mx.inf)


class Sampler:
    """Chooses tokens one after the other, with random numbers of its own.

    Nothing is drawn from MLX's global random state. The same seed, logits and device give the
    same tokens.

    Args:
        config: How.
        prompt: Tokens that count as seen for the repetition penalty.
    """

    def __init__(self, config: SamplingConfig, prompt: Sequence[int] = ()) -> None:
        self._config, self._prompt = config, list(prompt)
        self._key = mx.random.key(config.seed)
        # By token, as many as there are logits.
        self._seen: mx.array | None = None

    def distribution(self, logits: mx.array) -> mx.array:
        """The logits that a token is drawn from; -inf where it cannot be.

        Args:
            logits: (V,) of the model, any float type.
        """
        config = self._config
        logits = logits.astype(mx.float32)
        if config.repetition_penalty != 1:
            logits = penalize(logits, self._remembered(logits), config.repetition_penalty)
        if config.temperature == 0:
            return logits
        # The largest first becomes 0, so that no temperature makes an infinity.
        logits = (logits - logits.max()) / config.temperature
        if config.top_k:
            logits = keep_top_k(logits, config.top_k)
        return keep_min_p(keep_top_p(logits, config.top_p), config.min_p)

    def __call__(self, logits: mx.array) -> mx.array:
        """The next token, not evaluated.

        Args:
            logits: (V,) of the model.

        Returns:
            (1,) int32; -1 where the logits make no distribution, such as NaN.
        """
        kept = self.distribution(logits)
        if self._config.temperature == 0:
            token = mx.argmax(kept)
        else:
            self._key, key = mx.random.split(self._key)
            token = mx.random.categorical(kept, key=key)
        # Of the model's own logits: -inf in some of them is a distribution, NaN or +inf is none.
        sound = mx.isfinite(mx.logsumexp(logits.astype(mx.float32)))
        token = mx.where(sound, token.astype(mx.int32), -1).reshape(1)
        if self._seen is not None:
            self._seen = mx.put_along_axis(self._seen, token, mx.array(True), axis=0)
        return token

    def _remembered(self, logits: mx.array) -> mx.array:
        """Whether each token was there before."""
        if self._seen is None:
            self._seen = mx.zeros(logits.shape, mx.bool_)
            if self._prompt:
                self._seen[mx.array(self._prompt)] = True
        return self._seen


def _keep(logits: mx.array, falling: mx.array, count: mx.array) -> mx.array:
    """Keep the largest logits, of equal ones those with the smallest numbers.

    Args:
        logits: (..., V).
        falling: The same, negated and sorted.
        count: (..., 1), how many.
    """
    least = -mx.take_along_axis(
        falling, mx.broadcast_to(count - 1, (*falling.shape[:-1], 1)).astype(mx.int32), axis=-1
    )
    equal = logits == least
    room = count - (logits > least).sum(axis=-1, keepdims=True)
    first = mx.cumsum(equal.astype(mx.int32), axis=-1) <= room
    return mx.where((logits > least) | (equal & first), logits, -mx.inf)


def _sum_before(values: mx.array) -> mx.array:
    """The sum of all values before each one along the last axis, in blocks."""
    size = values.shape[-1]
    blocks = -(-size // BLOCK)
    padding = [(0, 0)] * (values.ndim - 1) + [(0, blocks * BLOCK - size)]
    parts = mx.pad(values, padding).reshape(*values.shape[:-1], blocks, BLOCK)
    inside = mx.cumsum(parts, axis=-1, inclusive=False)
    before = mx.cumsum(parts.sum(axis=-1, keepdims=True), axis=-2, inclusive=False)
    return (inside + before).reshape(*values.shape[:-1], blocks * BLOCK)[..., :size]
