"""A tiny language model in Hugging Face's layout, with a tokenizer and random weights."""

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import train_tokenizer
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.layout import write_model
from mlx_probe.lab.model.mini_llm import MiniLLM

TEXTS = (
    "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer "
    "the slings and arrows of outrageous fortune, or to take arms against a sea of troubles.",
    "生存还是毁灭，这是一个值得考虑的问题。 Shall I compare thee to a summer's day?",
)
SHAPE = {"dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 48, "context": 48}


def make_tokenizer(folder, kind="sentencepiece", vocabulary=320, texts=TEXTS):
    return train_tokenizer(TokenizerConfig(kind=kind), vocabulary, texts, folder)


def make_model(folder, tokenizer, seed=0, scale=6.0, dtype="float32", **shape):
    """Write a model; its weights are `scale` times those of a new one, so that it is surer."""
    config = ModelConfig(**{**SHAPE, "vocabulary": tokenizer.vocabulary, **shape})
    model = MiniLLM(config)
    initialize(model, seed)
    weights = {
        name: weight if "norm" in name else scale * weight
        for name, weight in tree_flatten(model.parameters())
    }
    write_model(folder, config, weights, tokenizer.folder, dtype)
    return folder


def log_probabilities(model, tokens):
    """Of every next token, in float64: (T, V)."""
    logits = np.array(
        model(mx.array([[int(token) for token in tokens]]))[0].astype(mx.float32), np.float64
    )
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
