"""OFT: inputs are rotated in blocks (Qiu et al. 2023, arXiv 2306.07280), as PEFT 0.21 stores it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import cayley, require_linear, rotated, shape_text
from mlx_probe.checkpoint.adapters.protocol import (
    Floats,
    MisfitError,
    Module,
    Target,
    Transform,
    Update,
)
from mlx_probe.checkpoint.adapters.scaling import number
from mlx_probe.core.errors import PackingError

__all__ = ["update"]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W R.T with rotations R on a diagonal; see `Scheme.update`."""
    if key == "bias":
        return None
    name = "oft_embedding_R" if "oft_embedding_R" in module.pieces else "oft_R"
    shape = module.shape(name)
    if len(shape) != 2:
        raise PackingError(f"{name} of {shape_text(shape)}: stored by a PEFT before 0.16")
    _, cols = require_linear(target, "OFT")
    size = (1 + math.isqrt(1 + 8 * shape[1])) // 2
    count = cols // size
    if size * count != cols or size * (size - 1) // 2 != shape[1] or shape[0] not in (1, count):
        raise MisfitError(f"{cols} columns in A, {shape[0]} blocks of {size} in B")
    if shape[0] == 1 and count > 1 and config.get("block_share") is not True:
        raise MisfitError(f"{cols} columns in A, one block of {size} in B")
    terms = number(config.get("num_cayley_neumann_terms", 5))
    if terms is None:
        raise PackingError("adapter_config.json does not give num_cayley_neumann_terms")

    def build(pieces: Mapping[str, Floats]) -> Transform:
        upper = np.triu_indices(size, 1)
        skew = np.zeros((shape[0], size, size))
        skew[:, upper[0], upper[1]] = pieces[name]
        skew -= skew.swapaxes(1, 2)
        if config.get("coft") is True:
            skew = _constrained(skew, float(config.get("eps", 6e-5)))
        if config.get("use_cayley_neumann", True) is True:
            blocks = _neumann(skew, int(terms))
        else:
            blocks = cayley(skew)
        # Embeddings are multiplied from the other side.
        turn = blocks if name == "oft_embedding_R" else blocks.swapaxes(1, 2)
        return Transform(lambda x, rows, cols: rotated(x, turn), whole_rows=True)

    return Update({name: module.pieces[name]}, build, whole_rows=True)


def _neumann(skew: Floats, terms: int) -> Floats:
    """The same, with the inverse as a truncated power series: I + 2 S + 2 S^2 + ... + S^(n - 1)."""
    total: Floats = np.broadcast_to(np.eye(skew.shape[-1]), skew.shape).copy()
    if terms > 1:
        total += 2 * skew
    if terms > 2:
        power = skew @ skew
        total += 2 * power
        for _ in range(3, terms - 1):
            power = power @ skew
            total += 2 * power
        total += power @ skew
    return total


def _constrained(skew: Floats, eps: float) -> Floats:
    """Constrained OFT: blocks no longer than eps / sqrt(blocks)."""
    longest = eps / math.sqrt(len(skew))
    norms = np.sqrt(np.square(skew).sum(axis=(1, 2), keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norms <= longest, skew, longest * (skew / norms))
