"""AdaLoRA: as many directions as training leaves (Zhang et al. 2023, arXiv 2303.10512)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.lora import orientation
from mlx_probe.checkpoint.adapters.protocol import (
    Floats,
    MisfitError,
    Module,
    Product,
    Target,
    Update,
)
from mlx_probe.checkpoint.adapters.scaling import number
from mlx_probe.core.errors import PackingError

__all__ = ["update"]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """AdaLoRA: B (A * E) alpha / (rank + 1e-5), without the name patterns of LoRA.

    The rank that divides is the one that training began with where the configuration lists what
    is left of it (``rank_pattern``): PEFT keeps the scale when it cuts the factors.
    """
    if key == "bias":
        return None
    shape_a, shape_b = module.shape("lora_A"), module.shape("lora_B")
    rank = shape_a[0]
    if rank == 0:
        return None
    if module.shape("lora_E")[0] != rank or shape_b[-1] != rank:
        raise MisfitError(f"lora_E of {module.pieces['lora_E'].numel} with {rank} directions")
    alpha, first = number(config.get("lora_alpha")), number(config.get("init_r"))
    if alpha is None:
        raise PackingError("adapter_config.json does not give the scale of the factors")
    count = first if config.get("rank_pattern") and first else float(rank)
    scale = (alpha if alpha > 0 else rank) / (count + 1e-5)
    flipped = orientation(module, target, int(np.prod(shape_a[1:])), shape_b[0])

    def build(pieces: Mapping[str, Floats]) -> Product:
        a = (pieces["lora_A"] * pieces["lora_E"]).reshape(rank, -1)
        b = pieces["lora_B"].reshape(-1, rank) * scale
        left, right = (a.T, b.T) if flipped else (b, a)
        return Product(np.ascontiguousarray(left), np.ascontiguousarray(right))

    wanted = ("lora_A", "lora_B", "lora_E")
    return Update({piece: module.pieces[piece] for piece in wanted}, build, rank=rank)
