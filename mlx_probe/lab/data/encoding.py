"""From documents to bytes of tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.documents import split_segments

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["Encoded", "Encoder", "token_dtype"]

# How the SentencePiece tokenizers of `train_tokenizer` cut text before they encode it: no token
# goes across a cut, so that each piece has the same tokens wherever it stands.
_SPACES = {
    "type": "Split",
    "pattern": {"Regex": " +[^ ]*|[^ ]+"},
    "behavior": "Isolated",
    "invert": False,
}
# Pieces that are remembered, and characters of such a piece, at most: some 50 MB.
_WORDS, _LETTERS = 200_000, 48


@dataclass(frozen=True)
class Encoded:
    """The tokens of a group of documents.

    Attributes:
        train: Of the documents for training, one behind the other.
        validation: Of those for validation.
    """

    train: bytes
    validation: bytes


def token_dtype(vocabulary: int) -> str:
    """Name of the narrowest type of a shard that holds all ids."""
    if vocabulary > 1 << 32:
        raise ConfigError(f"{vocabulary} tokens do not fit in 32 bits", "Use another tokenizer")
    return "uint16" if vocabulary <= 1 << 16 else "uint32"


class Encoder:
    """Encodes groups of documents, each followed by the eos token if the tokenizer has one.

    Text is mostly words that were there before: where the tokenizer cuts text at spaces, the
    tokens of a word are remembered, which is four times as fast as to encode it again.

    Args:
        tokenizer: Encodes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._dtype = np.dtype(token_dtype(tokenizer.vocabulary)).newbyteorder("<")
        end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        self._end = np.array(end, self._dtype).tobytes()
        self._known: dict[str, bytes] = {}
        cuts_at_spaces = _cuts_at_spaces(tokenizer.described)
        self._cut: Callable[[str], list[str]] = (
            re.compile(" +[^ ]*|[^ ]+").findall if cuts_at_spaces else split_segments
        )

    def encode(self, documents: Sequence[str], is_validation: Sequence[bool]) -> Encoded:
        """Encode documents.

        Args:
            documents: Texts.
            is_validation: For each, whether it is for validation.
        """
        pieces = [self._cut(document) for document in documents]
        if len(self._known) > _WORDS:
            self._known.clear()
        long = self._learn({piece for parts in pieces for piece in parts})
        flat: tuple[list[bytes], list[bytes]] = ([], [])
        for parts, validation in zip(pieces, is_validation, strict=True):
            flat[bool(validation)].extend(map(self._known.__getitem__, parts))
            flat[bool(validation)].append(self._end)
        for piece in long:
            del self._known[piece]
        return Encoded(b"".join(flat[0]), b"".join(flat[1]))

    def _learn(self, pieces: set[str]) -> list[str]:
        """Encode pieces that are not known; returns those too long to be remembered."""
        new = [piece for piece in pieces if piece not in self._known]
        segments = [split_segments(piece) for piece in new]
        ids = iter(self._tokenizer.encode_batch([part for parts in segments for part in parts]))
        for piece, parts in zip(new, segments, strict=True):
            arrays = [np.array(next(ids), self._dtype).tobytes() for _ in parts]
            self._known[piece] = b"".join(arrays)
        return [piece for piece in new if len(piece) > _LETTERS]


def _cuts_at_spaces(described: Mapping[str, Any]) -> bool:
    return described.get("pre_tokenizer") == _SPACES and described.get("normalizer") is None
