"""Tiny models that are really trained: bases, fine-tunes and LoRA adapters, for lineage."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# Compiling kernels takes longer than these few steps without them.
os.environ.setdefault("MLX_DISABLE_COMPILE", "1")

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten
from numpy.typing import NDArray

from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import train_tokenizer
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.layout import write_model
from mlx_probe.lab.model.mini_llm import MiniLLM

__all__ = ["Corpus", "Weights", "lora_adapter", "make_corpus", "trained", "write"]

Weights = Mapping[str, NDArray[np.float32]]

_BATCH, _CONTEXT = 8, 32
# The CPU's stream is deterministic.
mx.set_default_device(mx.cpu)


@dataclass(frozen=True)
class Corpus:
    """Text as tokens, in parts that trainings take.

    Attributes:
        tokenizer: The tokenizer's folder.
        vocabulary: Its tokens.
        parts: Arrays of token numbers.
    """

    tokenizer: Path
    vocabulary: int
    parts: tuple[NDArray[np.int64], ...]


def make_corpus(folder: Path, texts: Sequence[str], vocabulary: int = 384) -> Corpus:
    """Train a tokenizer on texts and tokenize each of them."""
    from tokenizers import Tokenizer

    tokenizer = train_tokenizer(TokenizerConfig(), vocabulary, texts, folder)
    encode = Tokenizer.from_file(str(folder / "tokenizer.json")).encode
    parts = tuple(np.array(encode(text).ids, np.int64) for text in texts)
    return Corpus(folder, tokenizer.vocabulary, parts)


def trained(
    config: ModelConfig,
    data: NDArray[np.int64],
    seed: int,
    steps: int,
    rate: float,
    begin: Weights | None = None,
    order: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Train by AdamW on random windows of a text.

    Args:
        config: The shape.
        data: Tokens.
        seed: Of the initial weights, where ``begin`` is None.
        steps: Updates.
        rate: Learning rate.
        begin: Weights to go on from; None for new ones.
        order: Seed of the windows; None for ``seed``.

    Returns:
        Weights by Hugging Face's names.
    """
    model = MiniLLM(config)
    initialize(model, seed)
    if begin is not None:
        model.load_weights([(name, mx.array(each)) for name, each in begin.items()])
    _fit(model, data, seed if order is None else order, steps, rate)
    return {name: np.array(each, np.float32) for name, each in tree_flatten(model.parameters())}


def _fit(model: nn.Module, data: NDArray[np.int64], seed: int, steps: int, rate: float) -> None:
    optimizer = optim.AdamW(learning_rate=rate, weight_decay=0.01)
    value_and_grad = nn.value_and_grad(model, partial(_loss, model))
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        starts = rng.integers(0, len(data) - _CONTEXT - 1, _BATCH)
        batch = mx.array(data[starts[:, None] + np.arange(_CONTEXT + 1)])
        _, gradients = value_and_grad(batch)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)


def _loss(model: nn.Module, batch: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(batch[:, :-1]), batch[:, 1:], reduction="mean")


def lora_adapter(
    folder: Path,
    base: Path,
    data: NDArray[np.int64],
    seed: int,
    steps: int,
    rank: int,
    keys: Sequence[str],
    rate: float = 3e-3,
) -> None:
    """Train a LoRA as mlx-lm does and write it as mlx-lm does."""
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load_model

    mx.random.seed(seed)
    model, _ = load_model(base)
    model.freeze()
    settings = {"rank": rank, "scale": 4.0, "dropout": 0.0, "keys": list(keys)}
    linear_to_lora_layers(model, len(model.layers), settings)
    _fit(model, data, seed, steps, rate)
    adapter = dict(tree_flatten(model.trainable_parameters()))
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "adapters.safetensors"), adapter)
    described = {
        "fine_tune_type": "lora",
        "num_layers": len(model.layers),
        "lora_parameters": settings,
        "model": str(base),
    }
    (folder / "adapter_config.json").write_text(json.dumps(described))


def write(
    folder: Path, config: ModelConfig, weights: Weights, corpus: Corpus, dtype: str = "float32"
) -> Path:
    """Write a model in Hugging Face's layout."""
    arrays = {name: mx.array(each) for name, each in weights.items()}
    write_model(folder, config, arrays, corpus.tokenizer, dtype)
    return folder
