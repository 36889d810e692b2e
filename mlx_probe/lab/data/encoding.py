"""From documents to bytes of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.documents import split_segments

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["Encoded", "Encoder", "token_dtype"]


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

    Args:
        tokenizer: Encodes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._dtype = np.dtype(token_dtype(tokenizer.vocabulary)).newbyteorder("<")
        end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        self._end = np.array(end, self._dtype).tobytes()

    def encode(self, documents: Sequence[str], is_validation: Sequence[bool]) -> Encoded:
        """Encode documents.

        Args:
            documents: Texts.
            is_validation: For each, whether it is for validation.
        """
        flat: tuple[list[bytes], list[bytes]] = ([], [])
        for document, validation in zip(documents, is_validation, strict=True):
            tokens = flat[bool(validation)]
            for part in split_segments(document):
                ids = self._tokenizer.encode_array(part)
                tokens.append(ids.astype(self._dtype).tobytes())
            tokens.append(self._end)
        return Encoded(b"".join(flat[0]), b"".join(flat[1]))
