"""Special tokens: units that stand for no text, and that text never gives."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlx_probe.core.errors import ConfigError

__all__ = ["CHAT_END", "CHAT_START", "END", "PAD", "UNKNOWN", "special_tokens"]

# Ends every document, and so begins the next: a model that has seen nothing else between two
# documents must also start from it. A beginning token of its own would never be trained.
END = "<|endoftext|>"
PAD = "<|pad|>"
# SentencePiece has to have one; with byte fallback no text gives it.
UNKNOWN = "<unk>"
# ChatML: before the role of each message, and after the message.
CHAT_START, CHAT_END = "<|im_start|>", "<|im_end|>"

# A bracketed word. Its characters belong to different scripts or classes, which neither kind of
# tokenizer merges into one piece: no text can become it by merging.
_FORM = re.compile(r"[<\[][!-~]*[A-Za-z][!-~]*[>\]]")
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def special_tokens(chat: bool, own: Sequence[str]) -> tuple[str, ...]:
    """The special tokens in the order of their ids, without `UNKNOWN`.

    Args:
        chat: Whether the tokens of ChatML are among them.
        own: The user's.

    Raises:
        ConfigError: A token of the user's is no special token, or is given twice.
    """
    tokens = [END, PAD, *((CHAT_START, CHAT_END) if chat else ())]
    for token in own:
        if not _FORM.fullmatch(token) or _BYTE.fullmatch(token):
            raise ConfigError(
                f"special_tokens: {token!r} is no special token",
                "Write ASCII text with a letter inside < > or [ ], as in <|tool|>",
            )
        if token in (*tokens, UNKNOWN):
            raise ConfigError(f"special_tokens: {token!r} is there already", "Drop it")
        tokens.append(token)
    return tuple(tokens)
