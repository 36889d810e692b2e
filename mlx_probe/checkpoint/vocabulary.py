"""The texts of a model's tokens, from the tokenizer's files beside its weights or inside them.

A table of tokens names the rows of an embedding; nothing is tokenized here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint.formats.gguf import read_array
from mlx_probe.core.errors import damaged, unreadable
from mlx_probe.core.records import ModelFiles

__all__ = ["read_tokens"]

_GGUF_TOKENS = "tokenizer.ggml.tokens"
# SentencePiece writes a space so.
_SPACE = "\u2581"
# Far above any vocabulary: a token with a larger number names no row.
_MOST = 1 << 24


def read_tokens(files: ModelFiles) -> tuple[str, ...]:
    r"""The text of each token, by its number.

    A GGUF file has the tokens in its metadata; other models have tokenizer.json, vocab.json or
    vocab.txt beside the weights. Spaces are spaces, whatever the tokenizer writes for them, and
    bytes that are no UTF-8 by themselves are written as in Python, ``\xe4``.

    Args:
        files: The model.

    Returns:
        Empty where no file says, and for a model that is read over the network. A number that
        no token has is an empty text.

    Raises:
        CheckpointError: The file is damaged.
    """
    if files.is_remote or not files.weights:
        return ()
    first = files.weights[0]
    if first.suffix.lower() == ".gguf":
        return _from_gguf(first)
    for name, read in _READERS.items():
        path = first.parent / name
        if path.is_file():
            return _from_file(path, read)
    return ()


def _from_gguf(path: Path) -> tuple[str, ...]:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            tokens = read_array(path, file, size, _GGUF_TOKENS)
    except OSError as error:
        raise unreadable(path, error) from error
    # Only the byte-level vocabularies have this letter, the space, in front of their words.
    byte_level = any(token.startswith("\u0120") for token in tokens)
    return tuple(_text(token, byte_level) for token in tokens)


def _from_file(
    path: Path, read: Callable[[str], tuple[Mapping[str, int], bool]]
) -> tuple[str, ...]:
    try:
        numbers, byte_level = read(path.read_text("utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError, TypeError, AttributeError, KeyError) as error:
        raise damaged(path, f"not a vocabulary: {error}") from error
    last = max(numbers.values(), default=-1)
    if last >= _MOST or min(numbers.values(), default=0) < 0:
        raise damaged(path, f"a token has the number {last}")
    texts = [""] * (last + 1)
    for token, number in numbers.items():
        texts[number] = _text(token, byte_level)
    return tuple(texts)


def _tokenizer_json(text: str) -> tuple[dict[str, int], bool]:
    whole = json.loads(text)
    model = whole["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        # Unigram: pairs of token and log probability.
        vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
    added = {entry["content"]: entry["id"] for entry in whole.get("added_tokens") or ()}
    numbers = {str(token): int(number) for token, number in {**vocabulary, **added}.items()}
    return numbers, "ByteLevel" in _types(whole)


def _types(whole: Mapping[str, Any]) -> set[str]:
    """The kinds of steps before and after the model, which may be sequences."""
    steps: list[Any] = [whole.get("pre_tokenizer"), whole.get("decoder")]
    kinds = set()
    while steps:
        step = steps.pop()
        if isinstance(step, dict):
            kinds.add(str(step.get("type")))
            steps += [*(step.get("pretokenizers") or ()), *(step.get("decoders") or ())]
    return kinds


def _vocab_json(text: str) -> tuple[dict[str, int], bool]:
    # The files of GPT-2's tokenizer and its kin.
    return {str(token): int(number) for token, number in json.loads(text).items()}, True


def _vocab_txt(text: str) -> tuple[dict[str, int], bool]:
    # Not `splitlines`: some tokens are separators of lines themselves.
    lines = text.removesuffix("\n").split("\n")
    return {token: number for number, token in enumerate(lines)}, False


_READERS = {
    "tokenizer.json": _tokenizer_json,
    "vocab.json": _vocab_json,
    "vocab.txt": _vocab_txt,
}


def _text(token: str, byte_level: bool) -> str:
    if not byte_level:
        return token.replace(_SPACE, " ")
    table = _bytes_of_letters()
    if any(letter not in table for letter in token):
        return token  # an added token, which is text already
    return bytes(table[letter] for letter in token).decode("utf-8", "backslashreplace")


@cache
def _bytes_of_letters() -> Mapping[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for.

    Printable bytes of Latin-1 stand for themselves, the others for letters from U+0100 on.
    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", encoder.py.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others: Iterable[int] = (byte for byte in range(256) if byte not in printable)
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + at): byte for at, byte in enumerate(others)}
