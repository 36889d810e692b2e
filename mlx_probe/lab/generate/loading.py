"""Opening a model to run it: weights, tokenizer, and what config.json says about both."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

from mlx_probe.core.errors import CheckpointError, ConfigError, SourceError
from mlx_probe.lab.budget.lowrank_layout import LOWRANK, lowrank_classes
from mlx_probe.lab.data.tokenizer import Tokenizer, load_tokenizer
from mlx_probe.lab.generate.adapted import find_adapter, load_adapted
from mlx_probe.lab.generate.folder import find_model_folder, tokenizer_folder
from mlx_probe.lab.model.layout import load_weights, read_config
from mlx_probe.lab.model.mini_llm import MiniLLM
from mlx_probe.lab.moe.gate.layout import dynamic_classes
from mlx_probe.lab.moe.stock import DYNAMIC

__all__ = ["LoadedModel", "load_model", "single"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that can run.

    Attributes:
        name: The reference that it was opened by.
        folder: Where its files are.
        model: Takes tokens (B, T) and ``cache=``, and returns logits (B, T, V).
        tokenizer: Its tokenizer.
        context: Positions that it was trained on; None if config.json does not say.
        first: Tokens that it expects at the beginning of every text.
        stops: Tokens at which generation ends.
        runs_by: "mlx-probe" for MiniLLM and dynamic gates, "mlx-lm" for that package's model.
        dtype: Of the weights as they are computed with, "float32".
    """

    name: str
    folder: Path
    model: nn.Module
    tokenizer: Tokenizer
    context: int | None
    first: tuple[int, ...]
    stops: frozenset[int]
    runs_by: str
    dtype: str


def load_model(reference: str | os.PathLike[str], by_mlx_lm: bool = False) -> LoadedModel:
    """Open a model on the device that MLX computes on.

    Models of the families of MiniLLM run by it, mixtures with dynamic gates by `GatedMixture`, all
    others by mlx-lm. On a CPU weights of 16 bits become float32: bfloat16 is slow there, and was
    wrong.

    Args:
        reference: A model reference whose files are in Hugging Face's layout or one GGUF file,
            or a finished training run: its folder, or what `train` returned. An adapter in
            mlx-lm's layout, or the folder of a tuning, is its base with the adapter.
        by_mlx_lm: Whether MiniLLM's families run by mlx-lm, too: its server needs its classes.

    Raises:
        SourceError: The model cannot be had, or is in another layout.
        CheckpointError: Its files are damaged, or do not fit together.
        ConfigError: Neither MiniLLM nor mlx-lm knows it.
    """
    name = os.fspath(reference)
    if adapter := find_adapter(name):
        return load_adapted(name, adapter, partial(load_model, by_mlx_lm=by_mlx_lm))
    folder = find_model_folder(name)
    config = _read_json(folder / "config.json")
    tokenizer = load_tokenizer(tokenizer_folder(folder))
    is_dynamic = config.get("model_type") == DYNAMIC
    model = None if by_mlx_lm or is_dynamic else _mini_llm(folder)
    runs_by = "mlx-lm" if model is None and not is_dynamic else "mlx-probe"
    if model is None:
        model = _by_mlx_lm(folder, config, is_dynamic)
    if mx.default_device().type == mx.cpu:
        model.update(tree_map(single, model.parameters()))
    model.eval()
    mx.eval(model.parameters())
    return LoadedModel(
        name=name,
        folder=folder,
        model=model,
        tokenizer=tokenizer,
        context=_context(config),
        first=_first(tokenizer),
        stops=frozenset(tokenizer.stop_ids) | _stops(folder, config),
        runs_by=runs_by,
        dtype=_dtype(model),
    )


def _mini_llm(folder: Path) -> nn.Module | None:
    """The model as a MiniLLM; None if it is of another kind."""
    try:
        shape = read_config(folder)
    except CheckpointError as error:
        _log.info("%s runs by mlx-lm: %s", folder, error.fact)
        return None
    model = MiniLLM(shape)
    model.load_weights(list(load_weights(folder, shape).items()))
    return model


def _by_mlx_lm(folder: Path, config: Mapping[str, Any], is_dynamic: bool) -> nn.Module:
    try:
        from mlx_lm.utils import load_model as load
    except ImportError as error:
        raise ConfigError(
            f"{folder} needs mlx-lm: {error}", "Install mlx-lm, which needs Python 3.11"
        ) from error
    try:
        # Not lazy only because the caller evaluates everything after the cast.
        if is_dynamic:
            classes = partial(dynamic_classes, str(folder))
            model, _ = load(folder, lazy=True, get_model_classes=classes)
        elif config.get("model_type") == LOWRANK:
            # Our own classes in the place of a file that anybody could have changed.
            classes = partial(lowrank_classes, str(folder))
            own = {"model_file": None}
            model, _ = load(folder, lazy=True, model_config=own, get_model_classes=classes)
        else:
            model, _ = load(folder, lazy=True)
    except (ValueError, KeyError, TypeError, FileNotFoundError, RuntimeError) as error:
        if "not supported" in str(error) or "model_file" in config:
            kind = config.get("model_type", "unknown")
            raise ConfigError(
                f"{folder}: mlx-lm does not run models of type {kind!r}: {error}",
                "Choose a model of a family that mlx-lm knows, or a newer mlx-lm",
            ) from error
        raise _does_not_fit(folder, error) from error
    built: nn.Module = model
    return built


def _does_not_fit(folder: Path, error: Exception) -> CheckpointError:
    # MLX lists every missing name, one a line.
    lines = str(error).strip().splitlines() or [type(error).__name__]
    more = f" and {len(lines) - 3} lines more" if len(lines) > 3 else ""
    return CheckpointError(
        f"{folder}: weights and config.json do not fit together: {' '.join(lines[:3])}{more}",
        "Get the model again; `mlx-probe inspect` lists its tensors",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SourceError(
            f"{path} does not exist", "Give a model in Hugging Face's layout"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}", "Get the file again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: no JSON object", "Get the file again")
    return content


def single(array: mx.array) -> mx.array:
    """An array as a CPU computes with it: numbers of 16 bits in float32."""
    return array.astype(mx.float32) if array.dtype in (mx.bfloat16, mx.float16) else array


def _dtype(model: nn.Module) -> str:
    from mlx.utils import tree_flatten

    for _, array in tree_flatten(model.parameters()):
        if mx.issubdtype(array.dtype, mx.floating):
            return str(array.dtype).removeprefix("mlx.core.")
    return "none"


def _context(config: Mapping[str, Any]) -> int | None:
    text = config.get("text_config")
    for settings in (config, text if isinstance(text, dict) else {}):
        value = settings.get("max_position_embeddings")
        if isinstance(value, int) and value > 0:
            return value
    return None


def _first(tokenizer: Tokenizer) -> tuple[int, ...]:
    """What the tokenizer itself puts in front of a text: the bos token, or nothing."""
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_file(str(tokenizer.folder / "tokenizer.json"))
    ids = backend.encode("", add_special_tokens=True).ids
    return (ids[0],) if ids and ids[0] == tokenizer.bos_id else ()


def _stops(folder: Path, config: Mapping[str, Any]) -> frozenset[int]:
    path = folder / "generation_config.json"
    settings = [config, _read_json(path) if path.exists() else {}]
    stops: set[int] = set()
    for entry in settings:
        value = entry.get("eos_token_id")
        stops.update(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(stops)
