"""IA3: a layer's inputs or outputs are scaled (Liu et al. 2022, arXiv 2205.05638)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import scaled
from mlx_probe.checkpoint.adapters.protocol import Module, Target, Update
from mlx_probe.core.errors import PackingError

__all__ = ["update"]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W with scaled columns, or with scaled rows and biases; see `Scheme.update`."""
    module.shape("ia3_l")
    scales_inputs = _scales_inputs(module.name, config)
    if key == "bias":
        return None if scales_inputs else scaled(module, target, "ia3_l", 0)
    if target.is_table or target.expert is not None:
        raise PackingError(f"PEFT has no IA3 for {'embeddings' if target.is_table else 'experts'}")
    if not scales_inputs:
        return scaled(module, target, "ia3_l", 1 if target.transposed else 0)
    kernel = int(np.prod(target.shape[2:])) if len(target.shape) > 2 else 1
    return scaled(module, target, "ia3_l", 0 if target.transposed else 1, kernel)


def _scales_inputs(name: str, config: Mapping[str, Any]) -> bool:
    """Whether the module is one of ``feedforward_modules``, as PEFT matches them."""
    modules = config.get("feedforward_modules")
    if isinstance(modules, str):
        return re.fullmatch(modules, name) is not None
    if not isinstance(modules, list):
        raise PackingError("adapter_config.json does not list feedforward_modules")
    return any(isinstance(each, str) and name.endswith(each) for each in modules)
