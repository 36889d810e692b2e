"""Checkpoints of a tiny model, whose weights drift, with a fault planted at one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

__all__ = ["FAULTS", "write_series"]

Weights = dict[str, NDArray[np.float64]]
_LAYERS, _DIM, _HIDDEN, _WORDS = 4, 48, 96, 128
_SHAPES = {
    **{f"self_attn.{name}": (_DIM, _DIM) for name in ("q_proj", "k_proj", "v_proj", "o_proj")},
    "mlp.gate_proj": (_HIDDEN, _DIM),
    "mlp.up_proj": (_HIDDEN, _DIM),
    "mlp.down_proj": (_DIM, _HIDDEN),
}


def _begin(rng: np.random.Generator) -> Weights:
    weights = {"model.embed_tokens.weight": 0.02 * rng.standard_normal((_WORDS, _DIM))}
    for layer in range(_LAYERS):
        for name, shape in _SHAPES.items():
            matrix = rng.standard_normal(shape) / np.sqrt(shape[1])
            weights[f"model.layers.{layer}.{name}.weight"] = matrix
        weights[f"model.layers.{layer}.input_layernorm.weight"] = np.ones(_DIM)
    return {**weights, "model.norm.weight": np.ones(_DIM)}


def _drift(weights: Weights, number: int, rng: np.random.Generator) -> None:
    """One interval: noise in all directions and a step in one, smaller from time to time."""
    rate = 0.03 / np.sqrt(number)
    for value in weights.values():
        if value.ndim == 1:
            value += 0.002 * rng.standard_normal(value.shape)
            continue
        scale = rate * float(np.std(value))
        value += scale * rng.standard_normal(value.shape)
        left, right = (rng.standard_normal(extent) for extent in value.shape)
        value += 0.3 * scale * np.outer(left, right)


def _low_rank(matrix: NDArray[np.float64], rank: int) -> None:
    left, sigma, right = np.linalg.svd(matrix, full_matrices=False)
    matrix[:] = (left[:, :rank] * sigma[:rank]) @ right[:rank]


def _of_one(weights: Weights, is_first: bool) -> None:
    _low_rank(weights["model.layers.2.mlp.up_proj.weight"], 8)


def _of_a_layer(weights: Weights, is_first: bool) -> None:
    for name, value in weights.items():
        if ".layers.1." in name and value.ndim == 2:
            _low_rank(value, 10)


def _norm(weights: Weights, is_first: bool) -> None:
    if is_first:
        weights["model.layers.3.self_attn.q_proj.weight"] *= 3.0


def _dead_units(weights: Weights, is_first: bool) -> None:
    weights["model.layers.0.mlp.gate_proj.weight"][:30] = 0.0


def _direction(weights: Weights, is_first: bool) -> None:
    if is_first:
        weights["model.layers.2.self_attn.o_proj.weight"] += 3.0 / _DIM


def _nan(weights: Weights, is_first: bool) -> None:
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = np.nan


# By name: what happens at the planted checkpoint and stays, and the tensors to which it happens.
FAULTS: Mapping[str, tuple[Callable[[Weights, bool], None], tuple[str, ...]]] = {
    "rank of one matrix": (_of_one, ("model.layers.2.mlp.up_proj.weight",)),
    "rank of a layer": (_of_a_layer, tuple(f"model.layers.1.{n}.weight" for n in _SHAPES)),
    "norm of one matrix": (_norm, ("model.layers.3.self_attn.q_proj.weight",)),
    "dead units": (_dead_units, ("model.layers.0.mlp.gate_proj.weight",)),
    "one direction": (_direction, ("model.layers.2.self_attn.o_proj.weight",)),
    "NaN": (_nan, ("model.layers.1.mlp.down_proj.weight",)),
}


def write_series(
    folder: Path,
    seed: int,
    count: int = 20,
    fault: str | None = None,
    at: int = 0,
    every: int = 100,
) -> None:
    """Write checkpoints as transformers does.

    Args:
        folder: Gets checkpoint-100, checkpoint-200 ...
        seed: Of weights and drift.
        count: Checkpoints.
        fault: Key of `FAULTS`; None for a series in which nothing happens.
        at: The checkpoint, from 1, from which on it is there.
        every: Steps between two checkpoints.
    """
    rng = np.random.default_rng(seed)
    weights = _begin(rng)
    for number in range(1, count + 1):
        _drift(weights, number, rng)
        if fault is not None and number >= at:
            FAULTS[fault][0](weights, number == at)
        target = folder / f"checkpoint-{number * every}"
        target.mkdir(parents=True)
        stored = {name: value.astype(np.float32) for name, value in weights.items()}
        save_file(stored, target / "model.safetensors")
        config = {"model_type": "llama", "num_hidden_layers": _LAYERS, "hidden_size": _DIM}
        (target / "config.json").write_text(json.dumps(config), "utf-8")
        state = {"global_step": number * every}
        (target / "trainer_state.json").write_text(json.dumps(state), "utf-8")
