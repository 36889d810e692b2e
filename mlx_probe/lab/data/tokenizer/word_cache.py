"""Encoding word by word, each different word once: several times faster than whole texts.

Natural text repeats its words. A text may be cut where no token can reach across; where that is
depends on how the tokenizer cuts text itself, and `word_cache` knows the two ways of the
tokenizers that are trained here. Many published byte-level ones work the second way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.lab.data.tokenizer.words import split_words

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["SPACED_WORDS", "WordCache", "word_cache"]

# Cuts where SentencePiece's pieces end anyway: before spaces that follow something else.
SPACED_WORDS = " +[^ ]*|[^ ]+"
# Before white space that follows something else, the expression of GPT-2 always cuts, and what it
# does on one side does not depend on the other. Python's \S leaves out all that is white there.
_AFTER_INK = re.compile(r"(?<=\S)(?=[ \n\t\r])")
# Words that are kept, and characters of such a word, at most: some 50 MB with their ids.
_WORDS, _LONGEST = 200_000, 48


class WordCache:
    """Encodes texts, and keeps the ids of words."""

    def __init__(self, backend: Tokenizer, split: Callable[[str], list[str]]) -> None:
        """Start empty.

        Args:
            backend: Encodes a word.
            split: Cuts a text into words whose ids, one after the other, are those of the text.
        """
        self._backend, self._split = backend, split
        self._ids: dict[str, bytes] = {}

    def encode(self, text: str) -> NDArray[np.uint32]:
        """The ids of a text, without special tokens."""
        words = self._split(text)
        if len(self._ids) > _WORDS:
            self._ids.clear()
        new = list(set(words).difference(self._ids))
        encoded = self._backend.encode_batch_fast(new, add_special_tokens=False)
        for word, encoding in zip(new, encoded, strict=True):
            self._ids[word] = np.array(encoding.ids, np.uint32).tobytes()
        ids = np.frombuffer(b"".join(map(self._ids.__getitem__, words)), np.uint32)
        for word in new:
            if len(word) > _LONGEST:
                del self._ids[word]
        return ids


def word_cache(backend: Tokenizer, described: Mapping[str, Any]) -> WordCache | None:
    """A cache for a tokenizer; None if it is not known where its texts may be cut.

    Args:
        backend: The tokenizer.
        described: Its tokenizer.json.
    """
    model, cut = described["model"], described.get("pre_tokenizer") or {}
    # Tokens that are looked for in the text as a whole might reach across a cut.
    is_plain = all(token["special"] for token in described.get("added_tokens", ()))
    if not is_plain or described.get("normalizer") or model["type"] != "BPE" or model["dropout"]:
        return None
    if cut.get("pattern") == {"Regex": SPACED_WORDS}:
        pieces = (piece for piece in model["vocab"] if not _is_special(piece, described))
        is_safe = all(len(split_words(piece)) == 1 for piece in pieces)
        return WordCache(backend, split_words) if is_safe else None
    parts = cut.get("pretokenizers", [cut])
    if [_described(part) for part in parts] in ([_GPT2], [_DIGITS, _GPT2]):
        return WordCache(backend, _AFTER_INK.split)
    return None


_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}


def _described(part: Mapping[str, Any]) -> dict[str, Any]:
    # `trim_offsets` changes no id. Files older than `use_regex` mean true.
    kept = {"use_regex": True} if part.get("type") == "ByteLevel" else {}
    return kept | {key: value for key, value in part.items() if key != "trim_offsets"}


def _is_special(piece: str, described: Mapping[str, Any]) -> bool:
    # Byte pieces stand for one character each, and are never text themselves.
    is_byte = len(piece) == 6 and piece.startswith("<0x")
    return is_byte or any(token["content"] == piece for token in described["added_tokens"])
