"""A tokenizer in the form of llama.cpp, with the same ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import CheckpointError, damaged, unreadable
from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.lab.export.gguf.vocabulary import byte_level, pieces
from mlx_probe.lab.export.gguf.vocabulary.added import add_tokens
from mlx_probe.lab.export.gguf.vocabulary.ends import read_ends
from mlx_probe.lab.export.gguf.vocabulary.vocabulary import Vocabulary

__all__ = ["Vocabulary", "read_vocabulary"]


def read_vocabulary(tokenizer: Path, model: Path, size: int) -> Vocabulary:
    """The tokenizer of a model.

    Args:
        tokenizer: The folder with tokenizer.json, and tokenizer.model where it is of
            SentencePiece.
        model: The folder with config.json, which may name more ends.
        size: Rows of the model's embedding; tokens that the tokenizer lacks are unused.

    Raises:
        SourceError: The tokenizer is damaged.
        CheckpointError: llama.cpp would give other ids, or it does not fit the model.
    """
    path = tokenizer / "tokenizer.json"
    loaded = load_tokenizer(tokenizer)
    if loaded.vocabulary > size:
        raise damaged(
            path,
            f"{loaded.vocabulary} tokens, and the model has room for {size}",
            "Give the tokenizer that the model was trained with",
        )
    described = _described(path)
    kind = _kind(described)
    if kind == "pieces":
        core = pieces.read(loaded, described)
    elif kind == "bytes":
        core = byte_level.read(path, described)
    else:
        raise CheckpointError(
            f"{path}: a tokenizer of kind {kind} has no form in GGUF that gives the same ids",
            "Give a model with a byte-level BPE or a SentencePiece BPE with byte fallback",
        )
    tokens, types = add_tokens(path, core.tokens, core.types, described, size)
    return Vocabulary(
        core=core,
        tokens=tokens,
        types=types,
        ends=read_ends(loaded, path, model),
        chat_template=loaded.chat_template,
    )


def _described(path: Path) -> dict[str, Any]:
    try:
        described: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    return described


def _kind(described: dict[str, Any]) -> str:
    model = described["model"]
    if model["type"] != "BPE":
        return str(model["type"])
    if model.get("byte_fallback"):
        return "pieces"
    return "bytes" if byte_level.is_byte_level(described) else "BPE without bytes"
