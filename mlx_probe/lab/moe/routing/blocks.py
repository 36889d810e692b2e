"""Where a model of mlx-lm has its mixtures: the modules that hold its experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.nn as nn

from mlx_probe.core.errors import ConfigError

__all__ = ["Block", "find_blocks"]


@dataclass(frozen=True)
class Block:
    """A mixture of a model.

    Attributes:
        name: Its path in the model, "model.layers.3.mlp".
        layer: The number of its layer, counted from 0.
        holder: What holds it: a module, a list, or a dictionary.
        key: Its name in ``holder``.
        module: What weights and sums the outputs of the experts.
        experts_key: The name of the experts in ``module``.
        experts: How many there are.
    """

    name: str
    layer: int
    holder: Any
    key: str | int
    module: nn.Module
    experts_key: str
    experts: int


def find_blocks(model: nn.Module, name: str) -> tuple[Block, ...]:
    """The mixtures of a model, from the first layer to the last.

    Args:
        model: Of mlx-lm: its experts are a `SwitchGLU` or a `SwitchMLP`.
        name: What messages call the model.

    Raises:
        ConfigError: There is none.
    """
    try:
        from mlx_lm.models.switch_layers import SwitchGLU, SwitchMLP
    except ImportError as error:
        raise ConfigError(
            f"{name} needs mlx-lm: {error}", "Install mlx-lm, which needs Python 3.11"
        ) from error
    blocks = []
    for path, holder, key, module in _modules(model):
        for child in module:
            experts = module[child]
            if isinstance(experts, (SwitchGLU, SwitchMLP)):
                inner = experts["down_proj" if "down_proj" in experts else "fc2"]
                layer = next((int(part) for part in path.split(".") if part.isdigit()), 0)
                blocks.append(Block(path, layer, holder, key, module, child, inner.num_experts))
    if not blocks:
        kind = type(model).__module__.rpartition(".")[-1]
        raise ConfigError(
            f"{name} has no experts that mlx-lm computes as one: it is a {kind}",
            "Give a mixture that mlx-lm runs by SwitchGLU; `mlx-probe moe graft` makes one",
        )
    return tuple(sorted(blocks, key=lambda block: block.layer))


def _modules(model: nn.Module) -> Iterator[tuple[str, Any, str | int, nn.Module]]:
    """Path, holder, key and module of everything below a model."""
    waiting: list[tuple[str, Any]] = [("", model)]
    while waiting:
        path, holder = waiting.pop()
        pairs = enumerate(holder) if isinstance(holder, (list, tuple)) else list(holder.items())
        for key, value in pairs:
            below = f"{path}.{key}".lstrip(".")
            if isinstance(value, nn.Module):
                yield below, holder, key, value
            if isinstance(value, (nn.Module, list, tuple, dict)):
                waiting.append((below, value))
