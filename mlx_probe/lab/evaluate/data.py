"""The tokens that a model is evaluated on, by the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.data.corpus import LeftOut, open_corpus
from mlx_probe.lab.data.documents import split_segments
from mlx_probe.lab.data.loader import TokenStream
from mlx_probe.lab.data.manifest import MANIFEST, Manifest
from mlx_probe.lab.data.tokenizer import Tokenizer, load_tokenizer
from mlx_probe.lab.evaluate.config import EvaluateConfig

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["EvaluationText", "open_text"]

# Documents that are encoded at a time.
_BATCH = 256
# What decides where "auto" cuts documents, as in training.
_VALIDATION = 0.1


@dataclass(frozen=True)
class EvaluationText:
    """Text as one sequence of tokens.

    Attributes:
        tokens: (N,).
        ends: Where each document ends: the number of its last token.
        split: Part of tokenized data; None for text.
        fingerprint: Of tokenized data; None for text.
        retokenized: Whether the data's tokens are another tokenizer's, and were encoded anew.
        has_tail: Whether the end that fills no window is evaluated, too. It is not in tokenized
            data, as in training.
    """

    tokens: NDArray[np.integer]
    ends: NDArray[np.int64]
    split: str | None = None
    fingerprint: str | None = None
    retokenized: bool = False
    has_tail: bool = True

    def document_of(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """The number of the document that each token belongs to."""
        return np.searchsorted(self.ends, positions, side="left")


def open_text(loaded: LoadedModel, data: str, config: EvaluateConfig) -> EvaluationText:
    """Read data, and encode them where they are not the model's tokens.

    Args:
        loaded: The model.
        data: A folder of `mlx-probe data tokenize`, a run that has one, or a source of text.
        config: Which split, and what a document is.

    Raises:
        SourceError: There is no such text.
        ResultError: The folder of tokens is damaged.
        ConfigError: The data's tokenizer does not give the text back.
    """
    path = Path(data).expanduser()
    folder = next((p for p in (path, path / "data") if (p / MANIFEST).is_file()), None)
    if folder is None:
        corpus = open_corpus((data,), config.document, config.text_column, _VALIDATION)
        texts = (text for file in corpus.files for text in corpus.documents(file, LeftOut()))
        return EvaluationText(*_encode(loaded, texts, data, config.max_tokens))
    manifest = Manifest.read(folder)
    tokens = _all_tokens(folder, manifest, config)
    eos = manifest.tokenizer["eos"]
    ends = np.flatnonzero(tokens == eos) if eos is not None else np.array([], np.int64)
    tokenizer = load_tokenizer(folder / "tokenizer")
    if tokenizer.fingerprint == loaded.tokenizer.fingerprint:
        return EvaluationText(tokens, ends, config.split, manifest.fingerprint, has_tail=False)
    documents = _decode(tokenizer, tokens, ends, manifest.splits[config.split].bytes, data)
    encoded = _encode(loaded, documents, data, config.max_tokens)
    return EvaluationText(*encoded, config.split, manifest.fingerprint, retokenized=True)


def _all_tokens(folder: Path, manifest: Manifest, config: EvaluateConfig) -> NDArray[np.integer]:
    stream = TokenStream(folder, config.split, manifest)
    return stream.read(0, len(stream))


def _encode(
    loaded: LoadedModel, documents: Iterable[str], data: str, most: int
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Tokens of documents, each between the model's own beginning and end."""
    end = [loaded.tokenizer.eos_id] if loaded.tokenizer.eos_id is not None else []
    parts: list[NDArray[np.int32]] = []
    ends: list[int] = []
    size = 0
    source = iter(documents)
    while texts := list(islice(source, _BATCH)):
        segments = [split_segments(text) for text in texts]
        encoded = iter(loaded.tokenizer.encode_batch([s for each in segments for s in each]))
        for each in segments:
            ids = [token for _ in each for token in next(encoded)]
            parts.append(np.array([*loaded.first, *ids, *end], np.int32))
            size += len(parts[-1])
            ends.append(size - 1)
        # The last window may reach beyond what is scored.
        if most and size > most + (loaded.context or 0):
            break
    if not parts:
        raise SourceError(f"{data} holds no text", "Give a source with text in it")
    return np.concatenate(parts), np.array(ends, np.int64)


def _decode(
    tokenizer: Tokenizer, tokens: NDArray[np.integer], ends: NDArray[np.int64], size: int, data: str
) -> Iterator[str]:
    """The documents that tokens stand for.

    Args:
        tokenizer: Of the tokens.
        tokens: (N,).
        ends: See `EvaluationText`.
        size: Bytes of the text.
        data: For messages.

    Raises:
        ConfigError: The tokenizer loses text.
    """
    starts = [0, *(int(end) + 1 for end in ends)]
    for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
        text = tokenizer.decode(tokens[start:stop].tolist())
        size -= len(text.encode())
        if text:
            yield text
    if size:
        raise ConfigError(
            f"{data}: its tokenizer is not the model's, and does not give all of the text back",
            "Give the text itself as --data",
        )
