"""A base with the adapter of mlx-lm's layout, as `mlx-probe tune` and mlx-lm write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten

from mlx_probe.core.errors import CheckpointError, SourceError, damaged, unreadable

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["find_adapter", "load_adapted"]

CONFIG, WEIGHTS, ADAPTER = "adapter_config.json", "adapters.safetensors", "adapter"


def find_adapter(reference: str) -> Path | None:
    """The folder of an adapter that a reference means; None if it means a whole model.

    Args:
        reference: A folder with an adapter, or the folder of a tuning or its run_meta.json.
    """
    path = Path(reference).expanduser()
    if path.name == "run_meta.json":
        path = path.parent
    for folder in (path, path / ADAPTER):
        if (folder / WEIGHTS).is_file() and _is_of_mlx_lm(folder / CONFIG):
            return folder
    return None


def _is_of_mlx_lm(path: Path) -> bool:
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and not {"fine_tune_type", "lora_parameters"}.isdisjoint(config)


def load_adapted(name: str, folder: Path, load_base: Callable[[str], LoadedModel]) -> LoadedModel:
    """Open the base that an adapter names, and put the adapter into it.

    Factors are multiplied out and added, unless the base is quantized.

    Args:
        name: The reference, as the user wrote it.
        folder: See `find_adapter`.
        load_base: Opens a model by its reference.

    Raises:
        SourceError: The adapter does not name its base, or that cannot be had.
        CheckpointError: The adapter is damaged, or of another base.
    """
    from mlx_lm.tuner.utils import load_adapters

    base = _base_of(folder)
    loaded = load_base(base)
    try:
        load_adapters(loaded.model, str(folder))
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} does not fit {base}: {str(error).strip().splitlines()[0]}",
            "Name the base that it was trained on as `model` in adapter_config.json",
        ) from error
    _fuse(loaded.model)
    loaded.model.eval()
    mx.eval(loaded.model.parameters())
    return replace(loaded, name=name)


def _base_of(folder: Path) -> str:
    path = folder / CONFIG
    try:
        config: Any = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise damaged(path, f"it is no JSON: {error}") from error
    base = config.get("model") if isinstance(config, dict) else None
    if not isinstance(base, str) or not base:
        raise SourceError(
            f"{path} does not name the base of the adapter", "Write its reference there as `model`"
        )
    return base


def _fuse(model: nn.Module) -> None:
    """Put the factors into the matrices; codes of quantized ones stay as they are."""
    fused = []
    for name, module in model.named_modules():
        inner = module.get("linear", module.get("embedding"))
        if not hasattr(module, "fuse") or inner is None or hasattr(inner, "bits"):
            continue
        fused.append((name, module.fuse()))
    if fused:
        model.update_modules(tree_unflatten(fused))
