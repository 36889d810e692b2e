"""LN tuning: the norms are stored whole (Zhao et al. 2023, arXiv 2312.11420)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.checkpoint.adapters.dense import stored
from mlx_probe.checkpoint.adapters.protocol import Module, Target, Update

__all__ = ["update"]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """Weight and bias of a norm are replaced; see `Scheme.update`."""
    piece = "ln_tuning_layers" if key == "weight" else "ln_tuning_layers.bias"
    return stored(module, target, piece) if piece in module.pieces else None
