"""From documents to bytes of tokens; documents are encoded in groups, by one process or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.documents import split_segments

__all__ = ["Encoded", "Encodes", "encode_group", "token_dtype"]


class Encodes(Protocol):
    """The part of a tokenizer that is needed here."""

    vocabulary: int
    eos_id: int | None

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of several texts, without special tokens."""


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


def encode_group(
    tokenizer: Encodes, documents: Sequence[str], is_validation: Sequence[bool]
) -> Encoded:
    """Encode documents, each followed by the eos token if the tokenizer has one.

    Args:
        tokenizer: Encodes.
        documents: Texts.
        is_validation: For each document, whether it is for validation.
    """
    pieces = [split_segments(document) for document in documents]
    ids = iter(tokenizer.encode_batch([piece for parts in pieces for piece in parts]))
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    flat: tuple[list[int], list[int]] = ([], [])
    for parts, validation in zip(pieces, is_validation, strict=True):
        tokens = flat[bool(validation)]
        for _ in parts:
            tokens += next(ids)
        tokens += end
    dtype = np.dtype(token_dtype(tokenizer.vocabulary)).newbyteorder("<")
    train, held = (np.array(tokens, dtype).tobytes() for tokens in flat)
    return Encoded(train, held)
