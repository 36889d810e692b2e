"""A model in Hugging Face's layout, written as a whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import mlx.core as mx

from mlx_probe.core.errors import ResultError, damaged, unreadable
from mlx_probe.core.files import write_error
from mlx_probe.lab.model.architecture import config_to_json, read_config
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import parameter_shapes
from mlx_probe.lab.model.mini_llm import MiniLLM
from mlx_probe.lab.tensor_stream import INDEX, WEIGHTS, write_shards
from mlx_probe.lab.tensors_file import stored
from mlx_probe.lab.whole_folder import whole_folder

__all__ = ["load_model", "load_weights", "read_config", "write_model"]

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}


def write_model(
    folder: Path,
    config: ModelConfig,
    weights: Mapping[str, mx.array],
    tokenizer_folder: Path | None = None,
    dtype: str = "float32",
) -> None:
    """Write a model that mlx-lm, transformers and `mlx-probe analyze` open.

    Everything is written into a folder beside ``folder`` and flushed, and then takes its name: a
    reader sees the model that was there before, or the whole new one.

    Args:
        folder: Where; a model that is there is replaced.
        config: The shape of the model.
        weights: Every parameter by Hugging Face's name.
        tokenizer_folder: A tokenizer whose files go with the model; None for none.
        dtype: Numbers on disk: "float32", "bfloat16" or "float16".

    Raises:
        ResultError: The disk refused, or the weights are not those of the shape; what was in
            ``folder`` is still there.
        CheckpointError: The tokenizer cannot be read.
    """
    if fault := _fault(weights, config):
        raise ResultError(f"cannot write {folder}: {fault}", "Give the weights of this very shape")
    try:
        with whole_folder(folder) as new:
            if tokenizer_folder is not None:
                _copy_tokenizer(tokenizer_folder, new)
            special, stops = ({}, []) if tokenizer_folder is None else _special_tokens(new)
            _write_json(new / "config.json", config_to_json(config, dtype, special))
            # A chat ends with its message, and a text with its document: mlx-lm and transformers
            # stop at any of these.
            ends = {"eos_token_id": stops} if len(stops) > 1 else {}
            _write_json(new / "generation_config.json", special | ends)
            kind = DTYPES[dtype]
            write_shards(new, [stored(name, each, kind) for name, each in weights.items()])
    except OSError as error:
        raise write_error(folder, error) from error


def load_model(folder: Path, dropout: float = 0.0) -> MiniLLM:
    """Open a model that `write_model` wrote, or any plain `llama` or `qwen3`.

    Args:
        folder: The model.
        dropout: As in `MiniLLM`.

    Returns:
        The model, with float32 weights.

    Raises:
        CheckpointError: It is another architecture, or damaged.
    """
    config = read_config(folder)
    model = MiniLLM(config, dropout)
    weights = load_weights(folder, config)
    model.load_weights([(name, each.astype(mx.float32)) for name, each in weights.items()])
    return model


def load_weights(folder: Path, config: ModelConfig) -> dict[str, mx.array]:
    """Read every parameter of a model, as it is stored.

    Raises:
        CheckpointError: A file or tensor is missing, damaged, or has another shape.
    """
    weights: dict[str, mx.array] = {}
    for path in _shards(folder):
        try:
            loaded = mx.load(str(path))
        except (RuntimeError, ValueError) as error:
            if not path.exists():
                raise unreadable(path, FileNotFoundError(2, "")) from error
            raise damaged(path, str(error).splitlines()[0]) from error
        weights |= cast(dict[str, mx.array], loaded)
    if config.tied_embeddings:
        # Some writers store the head although it is the embedding.
        weights.pop("lm_head.weight", None)
    if fault := _fault(weights, config):
        raise damaged(folder, fault)
    return weights


def _fault(weights: Mapping[str, mx.array], config: ModelConfig) -> str | None:
    """What keeps weights from being those of a shape, by their names and shapes."""
    shapes = parameter_shapes(config)
    for name, shape in shapes.items():
        if name not in weights:
            return f"tensor {name} is missing"
        if weights[name].shape != shape:
            return f"tensor {name} has the shape {weights[name].shape}, not {shape}"
    more = next((name for name in weights if name not in shapes), None)
    return None if more is None else f"tensor {more} does not belong to the model of config.json"


def _copy_tokenizer(source: Path, target: Path) -> None:
    from mlx_probe.lab.data.tokenizer import TOKENIZER_FILES

    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _special_tokens(folder: Path) -> tuple[dict[str, int], list[int]]:
    """Ids of the tokens that begin and end a text, by the keys of config.json; all that end one."""
    from mlx_probe.lab.data.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder)
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    known = {key: number for key, number in ids.items() if number is not None}
    return known, list(tokenizer.stop_ids)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _shards(folder: Path) -> Iterator[Path]:
    """Files with weights."""
    index = folder / INDEX
    if not index.exists():
        yield folder / WEIGHTS
        return
    try:
        places = json.loads(index.read_text("utf-8"))["weight_map"]
        names = sorted(set(places.values()))
    except OSError as error:
        raise unreadable(index, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(index, f"it is no index of shards: {error}") from error
    for name in names:
        if Path(name).name != name:
            raise damaged(index, f"{name} lies outside the folder")
        yield folder / name
