"""SHiRA: single elements are added to (Bhardwaj et al. 2024, arXiv 2406.13175)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import require_linear, shape_text
from mlx_probe.checkpoint.adapters.protocol import (
    Floats,
    Module,
    Target,
    Transform,
    Update,
)
from mlx_probe.core.errors import PackingError

__all__ = ["update"]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W plus the stored elements at the stored places; see `Scheme.update`."""
    if key == "bias":
        return None
    rows, cols = require_linear(target, "SHiRA")
    count, shape = module.numel("shira_weight"), module.shape("shira_indices")
    if shape != (2, count):
        raise PackingError(f"{count} values and shira_indices of {shape_text(shape)}")

    def build(pieces: Mapping[str, Floats]) -> Transform:
        values, (i, j) = pieces["shira_weight"], pieces["shira_indices"].astype(np.int64)
        inside = (i >= 0) & (i < rows) & (j >= 0) & (j < cols)
        if not inside.all():
            raise PackingError(f"shira_indices lie outside of {rows} x {cols}")

        def apply(x: Floats, across: slice, along: slice) -> Floats:
            y: Floats = x.copy()
            here = (i >= across.start) & (i < across.stop) & (j >= along.start) & (j < along.stop)
            np.add.at(y, (i[here] - across.start, j[here] - along.start), values[here])
            return y

        return Transform(apply)

    wanted = ("shira_weight", "shira_indices")
    return Update({name: module.pieces[name] for name in wanted}, build)
