"""C3A: circulant blocks are added (Chen et al. 2024, arXiv 2407.19342)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import require_linear, shape_text
from mlx_probe.checkpoint.adapters.protocol import (
    Floats,
    MisfitError,
    Module,
    Target,
    Transform,
    Update,
)

__all__ = ["update"]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W + C / in, each block of C a circulant matrix; see `Scheme.update`."""
    if key == "bias":
        return None
    shape = module.shape("c3a_kernel")
    rows, cols = require_linear(target, "C3A")
    if len(shape) != 3 or (shape[0] * shape[2], shape[1] * shape[2]) != (rows, cols):
        raise MisfitError(f"{rows} x {cols} in A, c3a_kernel of {shape_text(shape)} in B")
    size = shape[2]

    def build(pieces: Mapping[str, Floats]) -> Transform:
        kernel = pieces["c3a_kernel"] / cols

        def apply(x: Floats, across: slice, along: slice) -> Floats:
            i, inner_i = np.divmod(np.arange(rows)[across], size)
            j, inner_j = np.divmod(np.arange(cols)[along], size)
            turn = (inner_j[None, :] - inner_i[:, None]) % size
            return np.asarray(x + kernel[i[:, None], j[None, :], turn])

        return Transform(apply)

    return Update({"c3a_kernel": module.pieces["c3a_kernel"]}, build)
