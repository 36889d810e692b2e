"""Tiny dense models of both families, and a text."""

from types import SimpleNamespace

import mlx.core as mx
import pytest
from tiny_llm import TEXTS, make_model, make_tokenizer


@pytest.fixture(scope="session")
def dense(tmp_path_factory):
    """Folders of a llama and of a qwen3, of 2 layers and 48 hidden units; a text."""
    root = tmp_path_factory.mktemp("dense")
    with mx.stream(mx.cpu):
        tokenizer = make_tokenizer(root / "tokenizer")
        llama = make_model(root / "llama", tokenizer)
        qwen3 = make_model(root / "qwen3", tokenizer, qk_norm=True)
    text = root / "text.txt"
    text.write_text("\n\n".join(TEXTS * 4), "utf-8")
    return SimpleNamespace(
        llama=llama, qwen3=qwen3, text=str(text), tokenizer=tokenizer, folder=root
    )
