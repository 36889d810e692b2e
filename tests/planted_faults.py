"""Faults of twelve kinds, planted into models that look trained.

A fault changes the arrays of a model (name to float64 array), and says which rule has to name it
and which tensor has to be among the rule's rows.
"""

import re
from typing import NamedTuple

import numpy as np
from trained_models import EXPERTS, LAYERS


class Fault(NamedTuple):
    """Attributes: rule that has to name it, tensor that the finding has to be about."""

    rule: str
    tensor: str


def matrices(arrays, layer=None, but=("embed", "wte", "wpe", "lm_head", "gate.weight", "pooler")):
    names = [name for name, x in arrays.items() if x.ndim == 2 and min(x.shape) >= 16]
    names = [name for name in names if not any(part in name for part in but)]
    return [n for n in names if layer is None or layer_of(n) == layer]


def layer_of(name):
    found = re.search(r"\.(\d+)\.", f".{name}")
    return int(found[1]) if found else None


def some_matrix(arrays, rng):
    return str(rng.choice(matrices(arrays)))


def embedding(arrays):
    return next(n for n in arrays if "embed_tokens" in n or "word_emb" in n or n == "wte.weight")


def norms(arrays):
    return [n for n in arrays if re.search("norm|ln_", n.lower()) and n.endswith("weight")]


# 1. Rank lost.
def low_rank(arrays, rng):
    name = some_matrix(arrays, rng)
    u, s, v = np.linalg.svd(arrays[name], full_matrices=False)
    keep = int(len(s) * rng.uniform(0.3, 0.85))
    arrays[name] = (u[:, :keep] * s[:keep]) @ v[:keep]
    return Fault("rank_lost", name)


def zeroed(arrays, rng):
    name = some_matrix(arrays, rng)
    arrays[name] = np.zeros_like(arrays[name])
    return Fault("zeros", name)


# 2. Dead channels or tokens.
def dead_neurons(arrays, rng):
    wide = [n for n in matrices(arrays) if re.search("up_proj|c_fc|intermediate", n)]
    name = str(rng.choice(wide))
    axis = int(np.argmax(arrays[name].shape))
    dead = rng.choice(arrays[name].shape[axis], int(rng.integers(3, 12)), replace=False)
    np.moveaxis(arrays[name], axis, 0)[dead] *= rng.choice([0.0, 1e-9])
    return Fault("dead_channels", name)


def dead_tokens(arrays, rng):
    name = embedding(arrays)
    arrays[name][rng.choice(len(arrays[name]), int(rng.integers(5, 40)), replace=False)] = 0
    return Fault("dead_tokens", name)


# 3. Outlier layers.
def loud_layer(arrays, rng):
    layer = int(rng.integers(1, 5))
    factor = float(rng.choice([4.0, 8.0, 0.2]))
    for name in matrices(arrays, layer):
        arrays[name] *= factor
    return Fault("outlier_layers", matrices(arrays, layer)[0])


def loud_matrix(arrays, rng):
    name = some_matrix(arrays, rng)
    arrays[name] *= float(rng.choice([10.0, 0.08]))
    return Fault("outlier_layers", name)


# 4. Copied or averaged blocks.
def block(arrays, layer):
    pairs = [(n, re.sub(r"\.\d+\.", ".#.", f".{n}", count=1)) for n in arrays]
    return {key: n for n, key in pairs if layer_of(n) == layer}


def copied(arrays, rng):
    one, other = sorted(rng.choice(LAYERS, 2, replace=False))
    source, target = block(arrays, one), block(arrays, other)
    for key, name in target.items():
        arrays[name] = arrays[source[key]].copy()
    return Fault("copied_blocks", matrices(arrays, other)[0])


def averaged(arrays, rng):
    at = int(rng.integers(1, 5))
    weight = float(rng.choice([0.5, 0.5, 0.7]))
    one, other, target = block(arrays, at - 1), block(arrays, at + 1), block(arrays, at)
    for key, name in target.items():
        arrays[name] = weight * arrays[one[key]] + (1 - weight) * arrays[other[key]]
    return Fault("averaged_blocks", matrices(arrays, at)[0])


# 5. Spikes and heavy tails.
def dominant_direction(arrays, rng):
    name = some_matrix(arrays, rng)
    x = arrays[name]
    u, v = rng.standard_normal(x.shape[0]), rng.standard_normal(x.shape[1])
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    # One and a half times the energy of all else; the whole keeps its size.
    y = x + np.sqrt(1.5) * np.linalg.norm(x) * np.outer(u, v)
    arrays[name] = y * (np.linalg.norm(x) / np.linalg.norm(y))
    return Fault("spikes", name)


def super_weight(arrays, rng):
    # Of a few thousand elements one cannot be far beyond the rms without being all of it.
    name = max(matrices(arrays), key=lambda n: arrays[n].size)
    arrays[name][tuple(rng.integers(arrays[name].shape))] = 50 * arrays[name].std()
    return Fault("extreme_values", name)


# 6. Untrained or overfitted.
def untrained(arrays, rng):
    name = some_matrix(arrays, rng)
    x = arrays[name]
    if rng.random() < 0.5:
        arrays[name] = x.std() * rng.standard_normal(x.shape)
    else:
        arrays[name] = np.sqrt(3) * x.std() * rng.uniform(-1, 1, x.shape)
    return Fault("untrained", name)


def overfitted(arrays, rng):
    name = max(matrices(arrays), key=lambda n: min(arrays[n].shape))
    u, s, v = np.linalg.svd(arrays[name], full_matrices=False)
    # lambda with the density lambda^-1.45: its quantiles.
    quantiles = (np.arange(len(s)) + 0.5) / len(s)
    sigma = np.sqrt(quantiles ** (-1 / 0.45))
    arrays[name] = (u * (sigma * np.linalg.norm(s) / np.linalg.norm(sigma))) @ v
    return Fault("overfitted", name)


# 7. Broken or constant norms.
def constant_norm(arrays, rng):
    name = str(rng.choice(norms(arrays)))
    arrays[name] = np.ones_like(arrays[name])
    return Fault("constant_norms", name)


def zero_norm(arrays, rng):
    name = str(rng.choice(norms(arrays)))
    arrays[name] = np.zeros_like(arrays[name])
    return Fault("constant_norms", name)


def huge_norm(arrays, rng):
    name = str(rng.choice([n for n in norms(arrays) if layer_of(n) is not None]))
    arrays[name] *= float(rng.choice([30.0, -1.0]))
    return Fault("broken_norms", name)


# 8. Non-finite values.
def nonfinite(arrays, rng):
    name = some_matrix(arrays, rng)
    arrays[name][tuple(rng.integers(arrays[name].shape))] = rng.choice([np.nan, np.inf])
    return Fault("nonfinite", name)


# 9. Stored wider than needed.
def rounded(arrays, rng):
    name = str(rng.choice([embedding(arrays), max(matrices(arrays), key=lambda n: arrays[n].size)]))
    words = arrays[name].astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    arrays[name] = words.view(np.float32).astype(float)
    return Fault("wide_storage", name)


# 10. Quantization at risk.
def outlier_channels(arrays, rng):
    # Groups of 64 along the last axis: only where they fit.
    fit = [n for n in arrays if arrays[n].ndim == 2 and arrays[n].shape[1] % 64 == 0]
    name = str(rng.choice([n for n in fit if "layers" in n] or fit))
    columns = rng.choice(arrays[name].shape[1], 2, replace=False)
    arrays[name][:, columns] *= rng.uniform(12, 20)
    return Fault("quantization_risk", name)


# 11. Dead or double experts.
def expert(arrays, layer, number):
    return [n for n in arrays if f"layers.{layer}.mlp.experts.{number}." in n]


def dead_expert(arrays, rng):
    layer, number = int(rng.integers(LAYERS)), int(rng.integers(EXPERTS))
    for name in expert(arrays, layer, number):
        arrays[name] *= 1e-5
    return Fault("dead_experts", expert(arrays, layer, number)[0])


def double_expert(arrays, rng):
    layer = int(rng.integers(LAYERS))
    one, other = sorted(map(int, rng.choice(EXPERTS, 2, replace=False)))
    scale = float(rng.choice([1.0, 1.25]))
    pairs = zip(expert(arrays, layer, one), expert(arrays, layer, other), strict=True)
    for source, target in pairs:
        arrays[target] = scale * arrays[source]
    return Fault("double_experts", expert(arrays, layer, other)[0])


# 12. Output head and embedding unlike.
def other_head(arrays, rng):
    arrays["lm_head.weight"] = arrays["lm_head.weight"] * float(rng.choice([20.0, 0.02]))
    return Fault("head_embedding", "lm_head.weight")


def shorter_head(arrays, rng):
    arrays["lm_head.weight"] = arrays["lm_head.weight"][: -int(rng.integers(3, 20))].copy()
    return Fault("head_embedding", "lm_head.weight")


ANY = ("llama", "gpt2", "bert", "mixture")
DENSE = ("llama", "gpt2", "bert")
# Kind, ways to plant it, architectures that can have it.
FAULTS = {
    "rank lost": ((low_rank, zeroed), ANY),
    "dead channels or tokens": ((dead_neurons, dead_tokens), DENSE),
    "outlier layers": ((loud_layer, loud_matrix), DENSE),
    "copied or averaged blocks": ((copied, averaged), ANY),
    "spikes and heavy tails": ((dominant_direction, super_weight), DENSE),
    "untrained or overfitted": ((untrained, overfitted), DENSE),
    "broken or constant norms": ((constant_norm, zero_norm, huge_norm), ANY),
    "non-finite values": ((nonfinite,), ANY),
    "stored wider than needed": ((rounded,), ANY),
    "quantization at risk": ((outlier_channels,), ("llama",)),
    "dead or double experts": ((dead_expert, double_expert), ("mixture",)),
    "output head unlike the embedding": ((other_head, shorter_head), ("llama", "mixture")),
}
