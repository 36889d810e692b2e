"""VeRA: random projections that all modules share, and two trained vectors (arXiv 2310.11454)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.protocol import (
    Floats,
    MisfitError,
    Module,
    Product,
    Target,
    Update,
)
from mlx_probe.core.errors import PackingError

__all__ = ["update"]

_NAMES = ("vera_A", "vera_B", "vera_lambda_b", "vera_lambda_d")


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W + diag(b) B diag(d) A, B and A cut to the layer; see `Scheme.update`."""
    if key == "bias":
        return None
    if not {"vera_A", "vera_B"} <= module.pieces.keys():
        raise PackingError(
            "the adapter does not store VeRA's projections (save_projection is false): torch's "
            "random generator makes them"
        )
    a, b = module.shape("vera_A"), module.shape("vera_B")
    outputs, rank = module.numel("vera_lambda_b"), module.numel("vera_lambda_d")
    rows, cols = target.matrix
    flipped = target.transposed or ((outputs == cols) and rows != cols)
    inputs = rows if flipped else cols
    if outputs != (cols if flipped else rows) or a[0] != rank or b[1] != rank:
        raise MisfitError(f"{rows} x {cols} in A, vectors of {outputs} and {rank} in B")
    if a[1] < inputs or b[0] < outputs:
        raise MisfitError(f"{rows} x {cols} in A, projections of {a[1]} and {b[0]} in B")

    def build(pieces: Mapping[str, Floats]) -> Product:
        left = pieces["vera_lambda_b"].reshape(-1, 1) * pieces["vera_B"][:outputs]
        right = pieces["vera_lambda_d"].reshape(-1, 1) * pieces["vera_A"][:, :inputs]
        if flipped:
            left, right = right.T, left.T
        return Product(np.ascontiguousarray(left), np.ascontiguousarray(right))

    return Update({name: module.pieces[name] for name in _NAMES}, build, rank=rank)
