"""How many tokens a request had: as the server says, or as a tokenizer counts, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer
    from mlx_probe.lab.load_test.prompts import Prompt

__all__ = ["SOURCES", "Count", "count_input", "count_output"]

Source = Literal["usage", "tokenizer", "unknown"]
# Where a number of tokens can come from.
SOURCES: tuple[Source, ...] = ("usage", "tokenizer", "unknown")


@dataclass(frozen=True)
class Count:
    """A number of tokens.

    Attributes:
        tokens: None if it is unknown.
        source: Where it comes from.
    """

    tokens: int | None
    source: Source


_UNKNOWN = Count(None, "unknown")


def count_output(
    usage: dict[str, Any] | None, pieces: Sequence[str], tokenizer: Tokenizer | None
) -> Count:
    """Tokens that were generated.

    A chunk may hold several tokens or a part of one, so that chunks count nothing.

    Args:
        usage: What the server says; None for nothing.
        pieces: All that was generated.
        tokenizer: None if there is none.
    """
    said = _said(usage, "completion_tokens")
    if said is not None:
        return said
    if tokenizer is None:
        return _UNKNOWN
    return Count(sum(len(tokenizer.encode(piece)) for piece in pieces), "tokenizer")


def count_input(usage: dict[str, Any] | None, prompt: Prompt, tokenizer: Tokenizer | None) -> Count:
    """Tokens of the prompt, with those of a chat template where the server or tokenizer has one."""
    said = _said(usage, "prompt_tokens")
    if said is not None:
        return said
    if tokenizer is None:
        return _UNKNOWN
    if prompt.messages is None:
        return Count(len(tokenizer.encode(prompt.text)), "tokenizer")
    try:
        text = tokenizer.chat(list(prompt.messages))
        return Count(len(tokenizer.encode_special(text)), "tokenizer")
    except ConfigError:
        # No template, or one that does not take them.
        return _UNKNOWN


def _said(usage: dict[str, Any] | None, key: str) -> Count | None:
    value = (usage or {}).get(key)
    return Count(value, "usage") if isinstance(value, int) and value >= 0 else None
