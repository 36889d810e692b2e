"""Tokens beside those of the algorithm: special ones, the user's, and unused numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import damaged

__all__ = ["add_tokens"]


def add_tokens(
    path: Path,
    tokens: Sequence[str],
    types: Sequence[int],
    described: Mapping[str, Any],
    size: int,
) -> tuple[list[str], list[int]]:
    """All tokens of a model.

    Args:
        path: tokenizer.json, for messages.
        tokens: Spelling of the algorithm's tokens by their ids.
        types: Their types.
        described: Content of tokenizer.json.
        size: Ids of the model.

    Returns:
        Spellings and types of ``size`` tokens. Special tokens are control tokens, which text
        never gives; added tokens that are not special are looked for in every text first.

    Raises:
        CheckpointError: A number lies outside the model.
    """
    from gguf import TokenType

    names, kinds = list(tokens), list(types)
    unused = range(len(names), size)
    names += [f"[PAD{number}]" for number in unused]
    kinds += [TokenType.UNUSED] * len(unused)
    for token in described.get("added_tokens", ()):
        number = token["id"]
        if not 0 <= number < size:
            raise damaged(path, f"token {token['content']!r} has the id {number} of {size}")
        names[number] = token["content"]
        # llama.cpp looks for these in text only where it is told to, as for control tokens.
        if kinds[number] != TokenType.UNKNOWN:
            kinds[number] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
    return names, [int(kind) for kind in kinds]
