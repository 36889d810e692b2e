"""HRA: inputs are reflected one after the other (Yuan et al. 2024, arXiv 2405.17484)."""

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
    """W' = W H_1 ... H_r with H_i = I - 2 u_i u_i.T; see `Scheme.update`."""
    if key == "bias":
        return None
    shape = module.shape("hra_u")
    _, cols = require_linear(target, "HRA")
    if len(shape) != 2 or shape[0] != cols:
        raise MisfitError(f"{cols} columns in A, hra_u of {shape_text(shape)} in B")

    def build(pieces: Mapping[str, Floats]) -> Transform:
        mirrors = pieces["hra_u"] / np.linalg.norm(pieces["hra_u"], axis=0)
        if config.get("apply_GS") is True:
            mirrors = _orthonormal(pieces["hra_u"])

        def apply(x: Floats, rows: slice, cols: slice) -> Floats:
            y: Floats = x.copy()
            for mirror in mirrors.T:
                y -= 2 * np.outer(y @ mirror, mirror)
            return y

        return Transform(apply, whole_rows=True)

    return Update({"hra_u": module.pieces["hra_u"]}, build, whole_rows=True)


def _orthonormal(vectors: Floats) -> Floats:
    """Gram-Schmidt, in the order of the columns."""
    done: list[Floats] = []
    for vector in vectors.T:
        for other in done:
            vector = vector - (other @ vector) * other
        done.append(vector / np.linalg.norm(vector))
    return np.stack(done, axis=1)
