"""Tiny models for all of the lab, on MLX's CPU stream."""

from types import SimpleNamespace

import mlx.core as mx
import pytest
from tiny_llm import make_model, make_tokenizer


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folders of a tokenizer and of a model with it."""
    root = tmp_path_factory.mktemp("tiny")
    with mx.stream(mx.cpu):
        tokenizer = make_tokenizer(root / "tokenizer")
        model = make_model(root / "model", tokenizer)
    return SimpleNamespace(model=model, tokenizer=root / "tokenizer")
