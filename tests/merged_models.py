"""Tiny models that are really trained, their fine-tunes, and merges by independent code.

`family` trains one base, fine-tunes of it on other texts, and models of other seeds, on MLX's CPU
stream, as arrays by their names on the Hub. The merges are mergekit's definitions in numpy.
"""

import json
from functools import cache

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from matrices import store
from mlx.utils import tree_flatten
from weightfiles import write_safetensors

from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.mini_llm import MiniLLM

SHAPE = {"vocabulary": 64, "dim": 48, "layers": 3, "heads": 4, "kv_heads": 2, "hidden": 96}
CONFIG = ModelConfig(**SHAPE, context=32)


def train(seed, text, start=None, steps=12, rate=3e-3):
    """Weights after some steps of AdamW on token pairs that ``text`` draws the rules of."""
    rng = np.random.default_rng(text)
    rules = rng.permutation(SHAPE["vocabulary"])
    model = MiniLLM(CONFIG)
    initialize(model, seed)
    if start is not None:
        model.load_weights([(name, mx.array(values)) for name, values in start.items()])

    def loss(model, tokens):
        logits = model(tokens[:, :-1])
        return nn.losses.cross_entropy(logits, tokens[:, 1:]).mean()

    step = nn.value_and_grad(model, loss)
    optimizer = optim.AdamW(rate)
    for _ in range(steps):
        tokens = np.empty((4, 9), np.int64)
        tokens[:, 0] = rng.integers(SHAPE["vocabulary"], size=4)
        for i in range(8):
            tokens[:, i + 1] = rules[tokens[:, i]]
        _, gradients = step(model, mx.array(tokens))
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
    return {name: np.array(values) for name, values in tree_flatten(model.parameters())}


@cache
def family(dtype="BF16"):
    """Models by name: a base, tunes "a", "b" and "c" of it, and "x", "y", "z" of other seeds."""
    base = stored(train(0, text=0, steps=30), dtype)
    models = {"base": base}
    for number, name in enumerate("abc", start=1):
        models[name] = stored(train(0, number, base, rate=2e-4), dtype)
    for number, name in enumerate("xyz", start=11):
        models[name] = stored(train(number, number), dtype)
    return models


def stored(model, dtype):
    """A model rounded to a type, as float32."""
    return {name: store(values, dtype)[1].astype(np.float32) for name, values in model.items()}


def layer_of(name):
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]) if "layers" in parts else None


def weighted(models, weights, dtype="BF16"):
    """Mergekit's `linear`: weights are numbers, or functions of a tensor's name."""
    merged = {}
    for name in models[0]:
        shares = [w(name) if callable(w) else w for w in weights]
        total = sum(
            w * model[name].astype(np.float64) for w, model in zip(shares, models, strict=True)
        )
        merged[name] = total
    return stored(merged, dtype)


def arc(a, b, t, dtype="BF16"):
    """Mergekit's `slerp`; t is a number, or a function of a tensor's name."""
    merged = {}
    for name in a:
        x, y = a[name].astype(np.float64).ravel(), b[name].astype(np.float64).ravel()
        part = t(name) if callable(t) else t
        cosine = (x / np.linalg.norm(x)) @ (y / np.linalg.norm(y))
        if abs(cosine) > 0.9995:
            merged[name] = (1 - part) * a[name] + part * b[name]
            continue
        theta = np.arccos(cosine)
        first, second = np.sin((1 - part) * theta), np.sin(part * theta)
        merged[name] = (first * a[name] + second * b[name]) / np.sin(theta)
    return stored(merged, dtype)


def sparse_merge(base, models, density, rng, dtype="BF16"):
    """Mergekit's `dare_linear`: each change is kept with probability ``density``, and rescaled."""
    merged = {}
    for name, values in base.items():
        total = values.astype(np.float64)
        for model in models:
            kept = rng.random(values.shape) < density
            total = total + kept * (model[name] - values) / density / len(models)
        merged[name] = total
    return stored(merged, dtype)


def ties(base, models, density, dtype="BF16"):
    """Mergekit's `ties`: small changes are dropped, signs are elected, what agrees is averaged."""
    merged = {}
    for name, values in base.items():
        changes = np.stack([model[name].astype(np.float64) - values for model in models])
        flat = np.abs(changes).reshape(len(models), -1)
        least = np.quantile(flat, 1 - density, axis=1).reshape(-1, *[1] * values.ndim)
        changes = np.where(np.abs(changes) >= least, changes, 0)
        agreeing = (np.sign(changes) == np.sign(changes.sum(axis=0))) & (changes != 0)
        count = np.maximum(agreeing.sum(axis=0), 1)
        merged[name] = values + (changes * agreeing).sum(axis=0) / count
    return stored(merged, dtype)


def write(folder, model, dtype="BF16", **config):
    """A model's folder in Hugging Face's layout, without a tokenizer."""
    folder.mkdir(parents=True)
    arrays = {name: (store(values, dtype)[0], dtype) for name, values in model.items()}
    write_safetensors(folder / "model.safetensors", arrays)
    settings = {
        "model_type": "llama",
        "num_attention_heads": SHAPE["heads"],
        "num_key_value_heads": SHAPE["kv_heads"],
        "hidden_size": SHAPE["dim"],
        **config,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    return folder
