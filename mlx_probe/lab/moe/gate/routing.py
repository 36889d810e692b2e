"""What a gate says of tokens, and who keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import mlx.core as mx

__all__ = ["Record", "Routing"]


class Routing(NamedTuple):
    """The experts of some tokens.

    Attributes:
        weights: How much of each expert, (..., experts); 0 where it is not active.
        active: Whether it is used, (..., experts), boolean.
        fallback: Whether no expert fired, (...), boolean; see `DynamicGate`.
        scores: What the softmax of the weights is over, (..., experts), of all experts.
    """

    weights: mx.array
    active: mx.array
    fallback: mx.array
    scores: mx.array


class Record:
    """Keeps what the gates of a model say while it runs, layer by layer.

    No array of the model's own: within a compiled or differentiated function these are its arrays,
    which are of no use after it.
    """

    def __init__(self) -> None:
        self._layers: list[Routing] | None = None

    def add(self, routing: Routing) -> None:
        """What the next layer's gate says."""
        if self._layers is not None:
            self._layers.append(routing)

    @contextmanager
    def kept(self) -> Iterator[list[Routing]]:
        """Keep what is said within, in a list that is filled by running the model."""
        layers: list[Routing] = []
        self._layers = layers
        try:
            yield layers
        finally:
            self._layers = None
