"""Models of many layers, and layers that are copied, mixed and reordered on purpose.

Arrays have their names on the Hub, float32 (out x in; Conv1D transposed). Layers of one model have
sizes that drift with depth, channels of different size, and a few strong directions, so that they
are as alike as layers of trained models are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FAMILIES",
    *("averaged", "copied", "heads_shuffled", "made", "noised", "quantized", "restacked"),
    *("units_shuffled", "written"),
]

Arrays = dict[str, NDArray[Any]]

PREFIX = "model.layers.{}."
HEADS, KV_HEADS, HEAD = 8, 2, 8
HIDDEN, WIDTH, EXPERTS = 64, 96, 4


def _matrix(rng: np.random.Generator, rows: int, cols: int, gain: float, common: Any) -> Any:
    """Noise with channels of different size, shared by all layers, and some directions."""
    x = rng.standard_normal((rows, cols)) * rng.lognormal(0, 0.15, (rows, 1))
    # The residual stream's channels are the same ones in all layers.
    x *= common if cols == HIDDEN else 1.0
    x *= common[:, None] if rows == HIDDEN else 1.0
    for strength in (2.0, 1.6, 1.3):
        u, v = rng.standard_normal(rows), rng.standard_normal(cols)
        u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
        x += strength * (np.sqrt(rows) + np.sqrt(cols)) * np.outer(u, v)
    return (0.03 * gain * x).astype(np.float32)


def _attention(rng: np.random.Generator, gain: float, common: Any) -> dict[str, Any]:
    queries, keys = HEADS * HEAD, KV_HEADS * HEAD
    return {
        "self_attn.q_proj.weight": _matrix(rng, queries, HIDDEN, gain, common),
        "self_attn.k_proj.weight": _matrix(rng, keys, HIDDEN, gain, common),
        "self_attn.v_proj.weight": _matrix(rng, keys, HIDDEN, gain, common),
        "self_attn.o_proj.weight": _matrix(rng, HIDDEN, queries, gain, common),
    }


def _mlp(rng: np.random.Generator, gain: float, common: Any, under: str = "mlp") -> dict[str, Any]:
    return {
        f"{under}.gate_proj.weight": _matrix(rng, WIDTH, HIDDEN, gain, common),
        f"{under}.up_proj.weight": _matrix(rng, WIDTH, HIDDEN, gain, common),
        f"{under}.down_proj.weight": _matrix(rng, HIDDEN, WIDTH, gain, common),
    }


def _llama(rng: np.random.Generator, layers: int) -> tuple[Arrays, dict[str, Any]]:
    return _stacked(rng, layers, lambda *a: _mlp(*a)), _config("llama")


def _mixture(rng: np.random.Generator, layers: int) -> tuple[Arrays, dict[str, Any]]:
    def experts(rng: np.random.Generator, gain: float, common: Any) -> dict[str, Any]:
        found = {"mlp.gate.weight": _matrix(rng, EXPERTS, HIDDEN, gain, common)}
        for expert in range(EXPERTS):
            found |= _mlp(rng, gain, common, f"mlp.experts.{expert}")
        return found

    config = {**_config("qwen3_moe"), "num_experts": EXPERTS, "moe_intermediate_size": WIDTH}
    return _stacked(rng, layers, experts), config


def _gpt2(rng: np.random.Generator, layers: int) -> tuple[Arrays, dict[str, Any]]:
    """Fused queries, keys and values, and matrices stored as (inputs, outputs)."""
    common = rng.lognormal(0, 0.3, HIDDEN)
    arrays: Arrays = {"wte.weight": _matrix(rng, 300, HIDDEN, 1, common)}
    for layer in range(layers):
        gain = (1 + 0.06 * layer) * rng.uniform(0.92, 1.08)
        arrays |= {
            f"h.{layer}.attn.c_attn.weight": _matrix(rng, HIDDEN, 3 * HIDDEN, gain, common),
            f"h.{layer}.attn.c_proj.weight": _matrix(rng, HIDDEN, HIDDEN, gain, common),
            f"h.{layer}.mlp.c_fc.weight": _matrix(rng, HIDDEN, 4 * HIDDEN, gain, common),
            f"h.{layer}.mlp.c_proj.weight": _matrix(rng, 4 * HIDDEN, HIDDEN, gain, common),
            f"h.{layer}.ln_1.weight": rng.lognormal(0, 0.15, HIDDEN).astype(np.float32),
        }
    return arrays, {"model_type": "gpt2", "n_head": HEADS, "n_embd": HIDDEN}


def _stacked(rng: np.random.Generator, layers: int, feed_forward: Any) -> Arrays:
    common = rng.lognormal(0, 0.3, HIDDEN)
    arrays: Arrays = {"model.embed_tokens.weight": _matrix(rng, 300, HIDDEN, 1, common)}
    for layer in range(layers):
        gain = (1.3 if layer == 0 else 1 + 0.06 * layer) * rng.uniform(0.92, 1.08)
        parts = {**_attention(rng, gain, common), **feed_forward(rng, gain, common)}
        for name in ("input_layernorm", "post_attention_layernorm"):
            size = (0.6 + 0.05 * layer) * rng.lognormal(0, 0.15, HIDDEN)
            parts[f"{name}.weight"] = size.astype(np.float32)
        arrays |= {f"{PREFIX.format(layer)}{name}": array for name, array in parts.items()}
    return arrays


def _config(kind: str) -> dict[str, Any]:
    return {
        "model_type": kind,
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "intermediate_size": WIDTH,
    }


FAMILIES = {"llama": _llama, "mixture": _mixture, "gpt2": _gpt2}


def made(family: str, layers: int, seed: int) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and configuration of a model whose layers have nothing to do with each other."""
    return FAMILIES[family](np.random.default_rng(seed), layers)


def written(folder: Path, arrays: Arrays, config: dict[str, Any]) -> Path:
    """Write a model."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    layers = 1 + max(map(_layer_of, filter(_is_layer, arrays)))
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        folder / "model.safetensors",
    )
    text = json.dumps({**config, "num_hidden_layers": layers})
    (folder / "config.json").write_text(text, "utf-8")
    return folder


def _is_layer(name: str) -> bool:
    return any(part.isdigit() for part in name.split(".")[:3])


def _layer_of(name: str) -> int:
    return int(next(part for part in name.split(".") if part.isdigit()))


def _block(arrays: Arrays, layer: int) -> Arrays:
    """Arrays of a layer by the rest of their names."""
    found = {}
    for name, array in arrays.items():
        if _is_layer(name) and _layer_of(name) == layer:
            found[name.split(f".{layer}.", 1)[1]] = array
    return found


def _stack(arrays: Arrays) -> str:
    """What the names of layers begin with."""
    name = next(filter(_is_layer, arrays))
    return name.split(f".{_layer_of(name)}.", 1)[0]


def _put(arrays: Arrays, layer: int, block: Arrays) -> None:
    for name, array in block.items():
        arrays[f"{_stack(arrays)}.{layer}.{name}"] = array


def copied(arrays: Arrays, source: int, target: int) -> None:
    """One layer becomes a copy of another."""
    _put(arrays, target, {name: array.copy() for name, array in _block(arrays, source).items()})


def noised(arrays: Arrays, layer: int, share: float, rng: np.random.Generator) -> None:
    """Add noise of so many times a matrix's own size."""
    for name, array in _block(arrays, layer).items():
        if array.ndim > 1:
            noise = rng.standard_normal(array.shape) * float(np.sqrt(np.mean(array**2))) * share
            _put(arrays, layer, {name: (array + noise).astype(np.float32)})


def quantized(arrays: Arrays, layer: int, bits: int, group: int = 32) -> None:
    """Round to nearest in groups along the rows, as files of so many bits hold them."""
    for name, array in _block(arrays, layer).items():
        if array.ndim > 1:
            rows = array.reshape(-1, group)
            low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
            step = (high - low) / (2**bits - 1)
            values = np.round((rows - low) / step) * step + low
            _put(arrays, layer, {name: values.reshape(array.shape).astype(np.float32)})


def averaged(arrays: Arrays, target: int, first: int, second: int, share: float) -> None:
    """One layer becomes a mixture of two others."""
    one, other = _block(arrays, first), _block(arrays, second)
    mixed = {name: (share * one[name] + (1 - share) * other[name]) for name in one}
    _put(arrays, target, {name: array.astype(np.float32) for name, array in mixed.items()})


def units_shuffled(arrays: Arrays, layer: int, rng: np.random.Generator) -> None:
    """Hidden units of the MLP, or experts and their units, in another order."""
    block = _block(arrays, layer)
    if "mlp.c_fc.weight" in block:
        order = rng.permutation(block["mlp.c_fc.weight"].shape[1])
        block["mlp.c_fc.weight"] = block["mlp.c_fc.weight"][:, order]
        block["mlp.c_proj.weight"] = block["mlp.c_proj.weight"][order]
    elif "mlp.gate.weight" in block:
        experts = rng.permutation(len(block["mlp.gate.weight"]))
        before = dict(block)
        block["mlp.gate.weight"] = before["mlp.gate.weight"][experts]
        for place, expert in enumerate(experts):
            _reordered(block, before, f"mlp.experts.{expert}", f"mlp.experts.{place}", rng)
    else:
        _reordered(block, dict(block), "mlp", "mlp", rng)
    _put(arrays, layer, block)


def _reordered(
    block: Arrays, before: Arrays, source: str, target: str, rng: np.random.Generator
) -> None:
    order = rng.permutation(before[f"{source}.up_proj.weight"].shape[0])
    for kind in ("gate_proj", "up_proj"):
        block[f"{target}.{kind}.weight"] = before[f"{source}.{kind}.weight"][order]
    block[f"{target}.down_proj.weight"] = before[f"{source}.down_proj.weight"][:, order]


def heads_shuffled(
    arrays: Arrays, layer: int, rng: np.random.Generator, heads: int = HEADS, groups: int = KV_HEADS
) -> None:
    """Key and value heads in another order, and the query heads of each in another one."""
    block = _block(arrays, layer)
    if "attn.c_attn.weight" in block:
        order = _lines(rng.permutation(heads), block["attn.c_proj.weight"].shape[0] // heads)
        fused = np.split(block["attn.c_attn.weight"], 3, axis=1)
        block["attn.c_attn.weight"] = np.hstack([each[:, order] for each in fused])
        block["attn.c_proj.weight"] = block["attn.c_proj.weight"][order]
    else:
        share = heads // groups
        of_groups = rng.permutation(groups)
        of_heads = np.concatenate([g * share + rng.permutation(share) for g in of_groups])
        width = block["self_attn.q_proj.weight"].shape[0] // heads
        names = {
            "self_attn.q_proj.weight": _lines(of_heads, width),
            "self_attn.k_proj.weight": _lines(of_groups, width),
            "self_attn.v_proj.weight": _lines(of_groups, width),
        }
        for name, order in names.items():
            block[name] = block[name][order]
        output = block["self_attn.o_proj.weight"]
        block["self_attn.o_proj.weight"] = output[:, _lines(of_heads, width)]
    _put(arrays, layer, block)


def _lines(heads: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    return np.concatenate([np.arange(head * width, (head + 1) * width) for head in heads])


def restacked(parents: Sequence[Arrays], layers: Sequence[tuple[int, int]]) -> Arrays:
    """A model of layers of others: (parent, layer) of each; the rest is the first parent's."""
    found = {name: array for name, array in parents[0].items() if not _is_layer(name)}
    stack = _stack(parents[0])
    for place, (parent, layer) in enumerate(layers):
        for name, array in _block(parents[parent], layer).items():
            found[f"{stack}.{place}.{name}"] = array.copy()
    return found
