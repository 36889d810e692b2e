"""Conversations as examples: what is learned from them, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.tune.conversations import Conversation, read_conversations
from mlx_probe.lab.tune.example import Example, Examples, Skipped
from mlx_probe.lab.tune.rendering import TemplateError, render

__all__ = ["read_examples"]


def read_examples(
    folder: Path,
    tokenizer: Tokenizer,
    max_tokens: int,
    cut: bool,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Examples:
    """Read the conversations of a folder.

    Args:
        folder: Has the files; see `read_conversations` for them and for other errors.
        tokenizer: The model's, with its chat template.
        max_tokens: Longest example.
        cut: Whether longer ones are cut, and not left out.
        on_progress: Called with bytes read and bytes of both files.

    Raises:
        ConfigError: The template is not for training.
    """

    def parse(file: str, number: int, conversation: Conversation) -> Iterator[Example | Skipped]:
        return _examples(file, number, conversation, tokenizer, max_tokens, cut)

    return Examples(*read_conversations(folder, tokenizer, parse, on_progress), max_tokens, folder)


def _examples(
    file: str,
    number: int,
    conversation: Conversation,
    tokenizer: Tokenizer,
    max_tokens: int,
    cut: bool,
) -> Iterator[Example | Skipped]:
    name = conversation["id"]
    try:
        parts = render(tokenizer, conversation["messages"], conversation["tools"])
    except TemplateError:
        raise
    except ConfigError as error:
        yield Skipped(file, number, name, "the chat template does not take it", detail=error.fact)
        return
    if not parts:
        yield Skipped(file, number, name, "no answer to learn")
    for index, part in enumerate(parts):
        own = name if len(parts) == 1 else f"{name}#{index + 1}"
        example = Example(own, part.tokens, part.learned)
        length = len(part.tokens)
        if length > max_tokens:
            reason = "cut" if cut else "too long"
            yield Skipped(file, number, own, reason, length, f"{length} of {max_tokens} tokens")
            if not cut:
                continue
            example = Example(own, part.tokens[:max_tokens], part.learned[:max_tokens])
        if example.answer_tokens:
            yield example
        else:
            yield Skipped(file, number, own, "no answer to learn", length)
