"""MiSS: a small block is added again and again (Kang and Yin 2024, arXiv 2409.15371)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import require_linear, shape_text
from mlx_probe.checkpoint.adapters.protocol import (
    Edit,
    Floats,
    MisfitError,
    Module,
    Product,
    Target,
    Transform,
    Update,
)

__all__ = ["update"]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W plus a block that repeats along both axes; see `Scheme.update`."""
    if key == "bias":
        return None
    shape = module.shape("miss_block")
    rows, cols = require_linear(target, "MiSS")
    wanted = {"miss_block": module.pieces["miss_block"]}
    if config.get("init_weights") == "bat":
        size = shape[-1]
        if shape != (rows // size, size, size) or rows % size or cols % size:
            raise MisfitError(f"{rows} x {cols} in A, blocks of {shape_text(shape)} in B")
        return Update(
            wanted, lambda pieces: _bat(pieces["miss_block"]), whole_rows=True, whole_cols=True
        )
    if len(shape) != 2 or rows % shape[1]:
        raise MisfitError(f"{rows} rows in A, miss_block of {shape_text(shape)} in B")
    if shape[1] != rows and config.get("init_weights") != "mini":
        raise MisfitError(f"{rows} rows in A, miss_block of {shape_text(shape)} in B")

    # A block that repeats along the columns is a product with repeated rows of the unit matrix.
    as_product = 2 * shape[0] <= min(rows, cols)

    def build(pieces: Mapping[str, Floats]) -> Edit:
        block = pieces["miss_block"].T
        if as_product:
            left = np.tile(block, (rows // shape[1], 1))
            return Product(left, np.eye(shape[0])[:, np.arange(cols) % shape[0]])

        def apply(x: Floats, across: slice, along: slice) -> Floats:
            i, j = np.arange(rows)[across] % shape[1], np.arange(cols)[along] % shape[0]
            return np.asarray(x + block[np.ix_(i, j)])

        return Transform(apply)

    return Update(wanted, build, rank=shape[0] if as_product else None)


def _bat(block: Floats) -> Transform:
    """MiSS's "bat": each square block of the weight is multiplied, and the same is added."""
    size = block.shape[-1]

    def apply(x: Floats, across: slice, along: slice) -> Floats:
        # (column block, row block, row, column)
        parts = x.reshape(x.shape[0] // size, size, -1, size).transpose(2, 0, 1, 3)
        # PEFT cuts the rows with the row's place in the block first.
        return np.asarray(x + (parts @ block + block).transpose(1, 2, 0, 3).reshape(x.shape))

    return Transform(apply, whole_rows=True, whole_cols=True)
