"""BOFT: inputs are rotated in blocks, outputs scaled (Liu et al. 2023, arXiv 2311.06243)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.checkpoint.adapters.dense import cayley, require_linear, rotated, shape_text
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
    """W' = s * (W R.T) with blocks R on a diagonal; see `Scheme.update`."""
    if key == "bias":
        return None
    shape = module.shape("boft_R")
    rows, cols = require_linear(target, "BOFT")
    if len(shape) != 4 or shape[1] * shape[2] != cols or module.numel("boft_s") != rows:
        raise MisfitError(f"{rows} x {cols} in A, boft_R of {shape_text(shape)} in B")
    if shape[0] != 1:
        raise PackingError(f"BOFT with {shape[0]} butterfly factors: only one is computed")

    def build(pieces: Mapping[str, Floats]) -> Transform:
        free, gains = pieces["boft_R"][0], pieces["boft_s"].reshape(-1)
        turn = cayley((free - free.swapaxes(1, 2)) / 2).swapaxes(1, 2)
        return Transform(
            lambda x, rows, cols: rotated(x, turn) * gains[rows, None], whole_rows=True
        )

    wanted = ("boft_R", "boft_s")
    return Update({name: module.pieces[name] for name in wanted}, build, whole_rows=True)
