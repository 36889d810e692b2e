"""Makes the tokenizer of a configuration: a trained one, or a copy of an existing one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import atomic_replace, write_error
from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer.byte_level import train_byte_level
from mlx_probe.lab.data.tokenizer.chat import read_template
from mlx_probe.lab.data.tokenizer.existing import find_tokenizer
from mlx_probe.lab.data.tokenizer.sentencepiece_bpe import (
    Pieces,
    merges_of,
    train_sentencepiece,
)
from mlx_probe.lab.data.tokenizer.special import CHAT_START, END, PAD, UNKNOWN, special_tokens
from mlx_probe.lab.data.tokenizer.tokenizer import TOKENIZER_FILES, Tokenizer, open_tokenizer
from mlx_probe.lab.data.tokenizer.word_cache import SPACED_WORDS
from mlx_probe.lab.data.tokenizer.words import WordCount

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

__all__ = ["train_tokenizer"]

_BYTES = 256

# A vocabulary up to this size is given to any text, however uniform: bytes and special tokens are
# most of it, and some rows of an embedding without a token are no reason to refuse a text.
_ANY_TEXT = 512


def train_tokenizer(
    config: TokenizerConfig, vocabulary: int, texts: Iterable[str], folder: Path
) -> Tokenizer:
    """Make a tokenizer and write it into a folder, whole or not at all.

    Args:
        config: Its kind and special tokens.
        vocabulary: Tokens that it has, special ones included. An existing tokenizer may have
            fewer, and 0 takes as many as it has. Up to 512, a uniform text may give fewer.
        texts: What it is trained on, in a fixed order: the same texts give the same files. Not
            read for an existing tokenizer, nor after ``config.sample_bytes``.
        folder: Where it is written; made if need be.

    Returns:
        The tokenizer, read from the folder.

    Raises:
        ConfigError: The vocabulary is too small, or larger than the text allows; a special
            token or the chat template is none.
        SourceError: An existing tokenizer cannot be had or read.
        ResultError: The disk refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".mlx-probe-", dir=folder) as scratch:
            new = Path(scratch)
            if config.kind in ("sentencepiece", "bytes"):
                _train(config, vocabulary, texts, new)
            else:
                _copy(config.kind, vocabulary, new)
            _move(new, folder)
    except OSError as error:
        raise write_error(folder, error) from error
    return open_tokenizer(folder)


def _train(config: TokenizerConfig, vocabulary: int, texts: Iterable[str], folder: Path) -> None:
    template = read_template(config.chat_template)
    special = special_tokens(CHAT_START in (template or ""), config.special_tokens)
    is_pieces = config.kind == "sentencepiece"
    # SentencePiece has a token for the unknown, and needs a character beside the bytes.
    least = _BYTES + len(special) + 2 * is_pieces
    if vocabulary == 0:
        raise ConfigError(
            "a vocabulary of 0 takes all tokens of an existing tokenizer; one is trained here",
            f"Set model.vocabulary to {least} or more",
        )
    if vocabulary < least:
        raise ConfigError(
            f"a vocabulary of {vocabulary} has no room for {_BYTES} bytes and special tokens",
            f"Choose at least {least}",
        )
    count = WordCount(config.sample_bytes)
    sample = count.take(texts)
    first = next((text for text in sample if text), None)
    if first is None:
        raise ConfigError("no text to train a tokenizer on", "Give sources with text in them")
    fewer = vocabulary <= _ANY_TEXT
    if is_pieces:
        for _ in sample:
            pass
        pieces = train_sentencepiece(count.words, vocabulary, special, config.split_digits, fewer)
        (folder / "tokenizer.model").write_bytes(pieces.model)
        backend = _backend_of(pieces)
        special = (UNKNOWN, *special)
    else:
        every = chain([first], sample)
        backend = train_byte_level(every, vocabulary, special, config.split_digits, fewer)
    _mark_special(backend, special)
    (folder / "tokenizer.json").write_text(backend.to_str(pretty=True) + "\n", "utf-8")
    _write_description(folder, special, template)


def _backend_of(pieces: Pieces) -> Backend:
    """The `tokenizers` form of a SentencePiece vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    backend = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces.texts)},
            merges=list(merges_of(pieces)),
            unk_token=UNKNOWN,
            byte_fallback=True,
            fuse_unk=False,
        )
    )
    # No piece goes on after a space behind other characters: a cut there changes no id, and keeps
    # the queue of merges short. Spaces stay spaces, so that U+2581 is a character like others.
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(SPACED_WORDS), "isolated")
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return backend


def _mark_special(backend: Backend, special: Sequence[str]) -> None:
    from tokenizers import AddedToken

    backend.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special]
    )


def _write_description(folder: Path, special: Sequence[str], template: str | None) -> None:
    roles = {"bos_token": END, "eos_token": END, "pad_token": PAD}
    if UNKNOWN in special:
        roles["unk_token"] = UNKNOWN
    others = [token for token in special if token not in roles.values()]
    described: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        **roles,
        "extra_special_tokens": others,
    }
    _write_json(folder / "tokenizer_config.json", described)
    _write_json(folder / "special_tokens_map.json", {**roles, "additional_special_tokens": others})
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, "utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _copy(reference: str, vocabulary: int, folder: Path) -> None:
    source = find_tokenizer(reference)
    size = open_tokenizer(source).vocabulary
    if 0 < vocabulary < size:
        raise ConfigError(
            f"model.vocabulary is {vocabulary}, and the tokenizer {reference} has {size} tokens",
            "Set model.vocabulary=0 to take all of them",
        )
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _move(source: Path, folder: Path) -> None:
    """Put new files in the place of old ones; tokenizer.json, without which none is read, last."""
    (folder / "tokenizer.json").unlink(missing_ok=True)
    for name in reversed(TOKENIZER_FILES):
        if (source / name).is_file():
            with atomic_replace(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)
        else:
            (folder / name).unlink(missing_ok=True)
