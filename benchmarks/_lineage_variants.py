"""What can become of a model's weights: quantized, pruned, merged, permuted, cut."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import mlx.core as mx
import numpy as np
from _checkpoints import header_of
from numpy.typing import NDArray

from mlx_probe.analysis.lineage.storage import rounded
from mlx_probe.lab.model.config import ModelConfig

__all__ = [
    "fp8_folder",
    "linear",
    "magnitude",
    "mlx_folder",
    "permuted_channels",
    "permuted_heads",
    "permuted_units",
    "rescaled",
    "slerp",
    "two_of_four",
    "without_layer",
    "without_units",
]

Floats = NDArray[np.float32]
Weights = Mapping[str, Floats]


def _matrices(weights: Weights, change: Callable[[Floats], Floats]) -> dict[str, Floats]:
    """Weights with all matrices of the layers changed."""
    return {n: change(w) if w.ndim == 2 and ".layers." in n else w for n, w in weights.items()}


def magnitude(weights: Weights, share: float) -> dict[str, Floats]:
    """The smallest elements of each matrix set to 0 (Han and others 2015, arXiv:1506.02626)."""

    def prune(w: Floats) -> Floats:
        return np.where(np.abs(w) < np.quantile(np.abs(w), share), np.float32(0), w)

    return _matrices(weights, prune)


def two_of_four(weights: Weights) -> dict[str, Floats]:
    """Of four neighbours the two smaller ones set to 0: what NVIDIA's sparse kernels take."""

    def prune(w: Floats) -> Floats:
        groups = w.reshape(-1, 4)
        order = np.abs(groups).argsort(axis=1)
        kept = groups.copy()
        np.put_along_axis(kept, order[:, :2], 0, axis=1)
        return kept.reshape(w.shape)

    return _matrices(weights, prune)


def without_units(
    config: ModelConfig, weights: Weights, share: float, seed: int
) -> tuple[ModelConfig, dict[str, Floats]]:
    """A share of the hidden units of every layer cut out: those of the smallest norm."""
    kept = config.hidden - int(share * config.hidden)
    cut = dict(weights)
    for layer in range(config.layers):
        name = f"model.layers.{layer}.mlp.{{}}_proj.weight"
        gate, up, down = (weights[name.format(kind)] for kind in ("gate", "up", "down"))
        size = np.linalg.norm(down, axis=0) * np.linalg.norm(up, axis=1)
        units = np.sort(np.argsort(-size)[:kept])
        cut[name.format("gate")], cut[name.format("up")] = gate[units], up[units]
        cut[name.format("down")] = down[:, units]
    return _with(config, hidden=kept), cut


def without_layer(
    config: ModelConfig, weights: Weights, layer: int
) -> tuple[ModelConfig, dict[str, Floats]]:
    """One layer left out."""
    cut = {}
    for name, each in weights.items():
        if ".layers." in name:
            number = int(name.split(".")[2])
            if number == layer:
                continue
            name = name.replace(f".{number}.", f".{number - (number > layer)}.", 1)
        cut[name] = each
    return _with(config, layers=config.layers - 1), cut


def _with(config: ModelConfig, **changes: int) -> ModelConfig:
    return ModelConfig(**{**config.__dict__, **changes})


def linear(a: Weights, b: Weights, share: float) -> dict[str, Floats]:
    """(1 - share) A + share B."""
    return {name: ((1 - share) * w + share * b[name]).astype("f4") for name, w in a.items()}


def slerp(a: Weights, b: Weights, share: float) -> dict[str, Floats]:
    """Between A and B on the sphere, each tensor as one vector (Shoemake 1985), as mergekit."""
    merged = {}
    for name, x in a.items():
        u, v = x.astype(np.float64).ravel(), b[name].astype(np.float64).ravel()
        cosine = np.clip(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)), -1, 1)
        angle = np.arccos(cosine)
        if np.sin(angle) < 1e-6:
            y = (1 - share) * u + share * v
        else:
            y = (np.sin((1 - share) * angle) * u + np.sin(share * angle) * v) / np.sin(angle)
        merged[name] = y.reshape(x.shape).astype("f4")
    return merged


def permuted_units(config: ModelConfig, weights: Weights, seed: int) -> dict[str, Floats]:
    """The same function, with the hidden units of each layer in another order."""
    rng, moved = np.random.default_rng(seed), dict(weights)
    for layer in range(config.layers):
        name, order = f"model.layers.{layer}.mlp.{{}}_proj.weight", rng.permutation(config.hidden)
        for kind in ("gate", "up"):
            moved[name.format(kind)] = weights[name.format(kind)][order]
        moved[name.format("down")] = weights[name.format("down")][:, order]
    return moved


def permuted_heads(config: ModelConfig, weights: Weights, seed: int) -> dict[str, Floats]:
    """The same function, with the groups of heads of each layer in another order."""
    rng, moved, wide = np.random.default_rng(seed), dict(weights), config.head_dim
    for layer in range(config.layers):
        name = f"model.layers.{layer}.self_attn.{{}}_proj.weight"
        groups = np.roll(np.arange(config.kv_heads), int(rng.integers(1, config.kv_heads)))
        of_q = _lines(groups, wide * config.heads // config.kv_heads)
        of_k = _lines(groups, wide)
        moved[name.format("q")] = weights[name.format("q")][of_q]
        for kind in ("k", "v"):
            moved[name.format(kind)] = weights[name.format(kind)][of_k]
        moved[name.format("o")] = weights[name.format("o")][:, of_q]
    return moved


def _lines(groups: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    return (groups[:, None] * width + np.arange(width)).ravel()


def permuted_channels(config: ModelConfig, weights: Weights, seed: int) -> dict[str, Floats]:
    """The same function, with the channels of the residual stream in another order."""
    order = np.random.default_rng(seed).permutation(config.dim)
    moved = {}
    for name, w in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            moved[name] = w[order]
        elif w.ndim == 2:
            moved[name] = w[:, order]
        else:
            moved[name] = w[order] if len(w) == config.dim else w
    return moved


def rescaled(config: ModelConfig, weights: Weights, seed: int) -> dict[str, Floats]:
    """The same function, with the norms' gains in the matrices that follow them."""
    rng, moved = np.random.default_rng(seed), dict(weights)
    for layer in range(config.layers):
        prefix = f"model.layers.{layer}."
        for norm, kinds in (
            ("input_layernorm", ("self_attn.q", "self_attn.k", "self_attn.v")),
            ("post_attention_layernorm", ("mlp.gate", "mlp.up")),
        ):
            factors = np.exp2(rng.integers(-2, 3, config.dim)).astype("f4")
            moved[f"{prefix}{norm}.weight"] = weights[f"{prefix}{norm}.weight"] / factors
            for kind in kinds:
                name = f"{prefix}{kind}_proj.weight"
                moved[name] = weights[name] * factors
    return moved


def mlx_folder(folder: Path, source: Path, weights: Weights, mode: str, bits: int) -> Path:
    """A model packed by MLX in one of its modes: every matrix, embeddings included."""
    folder.mkdir()
    group = {"affine": 64, "mxfp4": 32, "mxfp8": 32, "nvfp4": 16}[mode]
    arrays = {}
    for name, each in weights.items():
        if each.ndim != 2:
            arrays[name] = mx.array(each)
            continue
        packed = mx.quantize(mx.array(each), group_size=group, bits=bits, mode=mode)
        base = name.removesuffix(".weight")
        for piece, array in zip(("weight", "scales", "biases"), packed, strict=False):
            arrays[f"{base}.{piece}"] = array
    mx.save_safetensors(str(folder / "model.safetensors"), arrays)
    settings = {"group_size": group, "bits": bits, "mode": mode}
    _beside(folder, source, {"quantization": settings})
    return folder


def fp8_folder(folder: Path, source: Path, weights: Weights) -> Path:
    """A model whose matrices are cast to 8-bit floats (E4M3), without scales."""
    folder.mkdir()
    kinds = {n: ("F8_E4M3" if w.ndim == 2 else "F32", w.shape) for n, w in weights.items()}
    with (folder / "model.safetensors").open("wb") as file:
        file.write(header_of(kinds))
        for each in weights.values():
            data = np.array(mx.to_fp8(mx.array(each))) if each.ndim == 2 else each
            file.write(data.tobytes())
    _beside(folder, source, {})
    return folder


def to_half(weights: Weights, form: str) -> dict[str, Floats]:
    """Every number rounded to a 16-bit format, held in float32."""
    return {name: rounded(each, form) for name, each in weights.items()}


def _beside(folder: Path, source: Path, settings: Mapping[str, object]) -> None:
    config = json.loads((source / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    for path in source.glob("tokenizer*"):
        shutil.copy(path, folder)
