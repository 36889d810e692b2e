"""Keys and values of the tokens so far, so that a new token costs one pass of one token.

Pope et al. 2022, "Efficiently scaling transformer inference", section 2.1.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

__all__ = ["KeyValueCache", "new_cache"]

# Positions that the arrays grow by.
STEP = 256


class KeyValueCache:
    """Keys and values of one layer, with the methods that mlx-lm's models and ours call.

    Attributes:
        offset: Positions in it.
    """

    def __init__(self) -> None:
        self.offset = 0
        self._keys: mx.array | None = None
        self._values: mx.array | None = None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append the keys and values of new positions, and return those of all.

        Args:
            keys: (B, H, T, D).
            values: (B, H, T, D).
        """
        before, self.offset = self.offset, self.offset + keys.shape[2]
        self._keys = _grown(self._keys, keys, before, self.offset)
        self._values = _grown(self._values, values, before, self.offset)
        self._keys[..., before : self.offset, :] = keys
        self._values[..., before : self.offset, :] = values
        return self._keys[..., : self.offset, :], self._values[..., : self.offset, :]

    @property
    def state(self) -> list[mx.array]:
        """The arrays, to be evaluated; others of as many positions may take their place."""
        return [array for array in (self._keys, self._values) if array is not None]

    @state.setter
    def state(self, arrays: list[mx.array]) -> None:
        self._keys, self._values = arrays or (None, None)


def new_cache(model: Any) -> list[Any]:
    """An empty cache for each layer of a model.

    Args:
        model: A MiniLLM, or a model of mlx-lm, which may have caches of its own kinds.
    """
    if hasattr(model, "make_cache"):
        return list(model.make_cache())
    if type(model).__module__.startswith("mlx_lm."):
        from mlx_lm.models.cache import make_prompt_cache

        return list(make_prompt_cache(model))
    return [KeyValueCache() for _ in model.layers]


def _grown(kept: mx.array | None, new: mx.array, before: int, after: int) -> mx.array:
    """The array with room for the positions up to ``after``."""
    if kept is not None and kept.shape[2] >= after:
        return kept
    batch, heads, _, width = new.shape
    room = -(-(after - before) // STEP) * STEP
    empty = mx.zeros((batch, heads, room, width), new.dtype)
    return empty if kept is None else mx.concatenate([kept[..., :before, :], empty], axis=2)
