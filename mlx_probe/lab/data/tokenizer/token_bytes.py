"""How many bytes of text each token stands for, which makes losses comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.lab.data.tokenizer.byte_level import byte_of_letter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["count_token_bytes"]


def count_token_bytes(
    vocabulary: Mapping[str, int], size: int, special: set[int], content: Mapping[str, Any]
) -> NDArray[np.int32]:
    """UTF-8 bytes of the text of each token.

    Args:
        vocabulary: Ids by the tokens' own spelling, added tokens included.
        size: Ids there are, N.
        special: Ids that stand for no text.
        content: tokenizer.json; its decoder says how tokens are spelled.

    Returns:
        N counts; 0 for special tokens and for ids without a token. A decoder that changes text
        (one that strips the first space, or lower-cases) makes their sum differ from the length
        of the text that was encoded.
    """
    kinds = list(_kinds(content.get("decoder")))
    added = {token["id"] for token in content.get("added_tokens", ())}
    letters = byte_of_letter() if "ByteLevel" in kinds else None
    prefix = next((kind for kind in ("WordPiece",) if kind in kinds), None)
    counts = np.zeros(size, np.int32)
    for token, number in vocabulary.items():
        if number in special:
            continue
        if number in added:
            # Added tokens are found in the text as they are, before any other step.
            counts[number] = len(token.encode())
        elif letters is not None:
            counts[number] = sum(
                1 if letter in letters else len(letter.encode()) for letter in token
            )
        elif "ByteFallback" in kinds and _is_byte(token):
            counts[number] = 1
        elif prefix is not None:
            # Words lose the space before them, and pieces inside a word have a mark instead.
            counts[number] = len(token.removeprefix("##").encode()) + (not token.startswith("##"))
        elif "Replace" in kinds or "Metaspace" in kinds:
            counts[number] = len(token.replace("\u2581", " ").encode())
        else:
            counts[number] = len(token.encode())
    return counts


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _kinds(decoder: Any) -> list[str]:
    """The types of a decoder and of those inside it."""
    if not isinstance(decoder, dict):
        return []
    inside = [kind for part in decoder.get("decoders", ()) for kind in _kinds(part)]
    return [str(decoder.get("type")), *inside]
