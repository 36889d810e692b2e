"""Models whose relation is known, by numpy: many in a second. Trained ones are in benchmarks/."""

import json

import mlx.core as mx
import numpy as np
import trained_models
from matrices import store
from weightfiles import write_safetensors

from mlx_probe.analysis.lineage import read_fingerprint
from mlx_probe.analysis.opening import open_checkpoint

HEADS, WIDTH, HIDDEN, TOKENS, LAYERS = 4, 64, 128, 160, 3
CONFIG = {
    "model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
    "hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS,
    "vocab_size": TOKENS,
}  # fmt: skip
SHAPES = {
    "self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH, WIDTH),
    "self_attn.v_proj": (WIDTH, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (HIDDEN, WIDTH), "mlp.up_proj": (HIDDEN, WIDTH),
    "mlp.down_proj": (WIDTH, HIDDEN),
}  # fmt: skip


def base(seed=0, layers=LAYERS):
    """A llama that looks trained. The embedding's leading directions are those of every seed."""
    rng, language = np.random.default_rng(seed), np.random.default_rng(99)
    common = language.standard_normal((TOKENS, 4)) * [3, 2, 1, 1]
    table = common @ rng.standard_normal((4, WIDTH)) + rng.standard_normal((TOKENS, WIDTH))
    arrays = {"model.embed_tokens.weight": 0.1 * table}
    for layer in range(layers):
        for name, shape in SHAPES.items():
            arrays[f"model.layers.{layer}.{name}.weight"] = trained_models.matrix(rng, *shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            arrays[f"model.layers.{layer}.{name}.weight"] = trained_models.norm(rng, WIDTH, layer)
    arrays["model.norm.weight"] = trained_models.norm(rng, WIDTH, layers)
    arrays["lm_head.weight"] = 0.05 * rng.standard_normal((TOKENS, WIDTH))
    return {name: x.astype(np.float32) for name, x in arrays.items()}


def matrices(arrays, change):
    """With every matrix of a layer changed."""
    return {n: change(x) if ".layers." in n and x.ndim == 2 else x for n, x in arrays.items()}


def tuned(arrays, seed=1, size=0.1):
    rng = np.random.default_rng(seed)
    noise = lambda x: size * x.std() * rng.standard_normal(x.shape)  # noqa: E731
    return {name: (x + noise(x)).astype(np.float32) for name, x in arrays.items()}


def lora(arrays, rank=4, seed=2, keys=("q_proj", "v_proj")):
    rng, changed = np.random.default_rng(seed), dict(arrays)
    for name, x in arrays.items():
        if any(key in name for key in keys):
            rows, cols = x.shape
            factors = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, cols))
            changed[name] = (x + 0.05 * x.std() * factors).astype(np.float32)
    return changed


def pruned(arrays, share=0.5):
    cut = lambda x: np.where(abs(x) < np.quantile(abs(x), share), np.float32(0), x)  # noqa: E731
    return matrices(arrays, cut)


def fewer_units(arrays, count=96, layers=LAYERS):
    kept, cut = np.sort(np.random.default_rng(3).permutation(HIDDEN)[:count]), dict(arrays)
    for layer in range(layers):
        name = f"model.layers.{layer}.mlp.{{}}_proj.weight"
        for kind in ("gate", "up"):
            cut[name.format(kind)] = arrays[name.format(kind)][kept]
        cut[name.format("down")] = arrays[name.format("down")][:, kept]
    return cut


def relayered(arrays, order):
    """Layers in another order, left out, or twice."""
    kept = {name: x for name, x in arrays.items() if ".layers." not in name}
    for new, old in enumerate(order):
        for name, x in arrays.items():
            if f".layers.{old}." in name:
                kept[name.replace(f".layers.{old}.", f".layers.{new}.")] = x
    return kept


def permuted(arrays, seed=4, layers=LAYERS):
    """Hidden units in another order: the same function."""
    rng, moved = np.random.default_rng(seed), dict(arrays)
    for layer in range(layers):
        name, order = f"model.layers.{layer}.mlp.{{}}_proj.weight", rng.permutation(HIDDEN)
        for kind in ("gate", "up"):
            moved[name.format(kind)] = arrays[name.format(kind)][order]
        moved[name.format("down")] = arrays[name.format("down")][:, order]
    return moved


def rotated(arrays, seed=8):
    """The residual stream rotated, as QuaRot does before it quantizes."""
    rng, moved = np.random.default_rng(seed), {}
    rotation = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    for name, x in arrays.items():
        if "o_proj" in name or "down_proj" in name:
            moved[name] = rotation.T @ x
        else:
            moved[name] = x @ rotation if x.ndim == 2 else x
    return moved


def moved_channels(arrays, seed=5):
    """Channels of the residual stream in another order: the same function."""
    order, moved = np.random.default_rng(seed).permutation(WIDTH), {}
    for name, x in arrays.items():
        if "o_proj" in name or "down_proj" in name:
            moved[name] = x[order]
        else:
            moved[name] = x[..., order]
    return moved


def rescaled(arrays, layers=LAYERS):
    """Gains of norms in the matrices that follow: the same function."""
    rng, moved = np.random.default_rng(6), {name: x.copy() for name, x in arrays.items()}
    for layer in range(layers):
        factors = np.exp2(rng.integers(-2, 3, WIDTH)).astype(np.float32)
        moved[f"model.layers.{layer}.input_layernorm.weight"] /= factors
        for kind in ("q", "k", "v"):
            moved[f"model.layers.{layer}.self_attn.{kind}_proj.weight"] *= factors
    return moved


def more_tokens(arrays, count=16):
    rng, wider = np.random.default_rng(7), tuned(arrays, size=0.02)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        more = 0.1 * rng.standard_normal((count, WIDTH)).astype(np.float32)
        wider[name] = np.concatenate([wider[name], more])
    return wider


def written(folder, arrays, dtype="F32", config=None):
    """A model's folder."""
    folder.mkdir(parents=True)
    stored = {name: (store(x, dtype)[0], dtype) for name, x in arrays.items()}
    write_safetensors(folder / "model.safetensors", stored)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    return folder


def packed(folder, arrays, bits=4, group=64):
    """A model packed by MLX."""
    folder.mkdir(parents=True)
    stored = {}
    for name, x in arrays.items():
        if x.ndim == 2:
            pieces = mx.quantize(mx.array(x), group_size=group, bits=bits)
            stem = name.removesuffix(".weight")
            stored |= {
                f"{stem}.{piece}": each
                for piece, each in zip(("weight", "scales", "biases"), pieces, strict=True)
            }
        else:
            stored[name] = mx.array(x)
    mx.save_safetensors(str(folder / "model.safetensors"), stored)
    settings = {"quantization": {"group_size": group, "bits": bits}}
    (folder / "config.json").write_text(json.dumps({**CONFIG, **settings}))
    return folder


def fingerprint(model, config=None, remote=False):
    with open_checkpoint(str(model), remote=remote) as checkpoint:
        return read_fingerprint(checkpoint, config)
