"""Trainable tokens: some rows of a table of embeddings are stored whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import shape_text
from mlx_probe.checkpoint.adapters.names import TOKENS_PIECE
from mlx_probe.checkpoint.adapters.protocol import (
    Floats,
    MisfitError,
    Module,
    Target,
    Transform,
    Update,
)
from mlx_probe.core.errors import PackingError

__all__ = ["update"]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """Some rows of a table of embeddings are replaced; see `Scheme.update`.

    The configuration lists the rows' numbers, of all modules or by the end of a module's name.
    """
    if key == "bias":
        return None
    rows, cols = target.matrix
    indices = _indices(module.name, config)
    if module.shape(TOKENS_PIECE) != (len(indices), cols):
        raise MisfitError(
            f"{len(indices)} tokens of {cols} in A, {shape_text(module.shape(TOKENS_PIECE))} in B"
        )
    if min(indices, default=0) < 0 or max(indices, default=0) >= rows:
        raise MisfitError(f"{rows} rows in A, tokens up to {max(indices)} in B")
    numbers = np.array(indices)

    def build(pieces: Mapping[str, Floats]) -> Transform:
        def apply(x: Floats, across: slice, along: slice) -> Floats:
            y: Floats = x.copy()
            here = (numbers >= across.start) & (numbers < across.stop)
            y[numbers[here] - across.start] = pieces[TOKENS_PIECE][here][:, along]
            return y

        return Transform(apply)

    return Update({TOKENS_PIECE: module.pieces[TOKENS_PIECE]}, build)


def _indices(name: str, config: Mapping[str, Any]) -> list[int]:
    """Numbers of the rows in the order in which they are stored."""
    found = config.get("trainable_token_indices") or config.get("token_indices")
    if isinstance(found, Mapping):
        ends = [key for key in found if f".{name}".endswith(f".{key}")]
        found = found[ends[0]] if ends else None
    if not isinstance(found, list) or not all(type(index) is int for index in found):
        raise PackingError("adapter_config.json does not list the trained tokens")
    return found
