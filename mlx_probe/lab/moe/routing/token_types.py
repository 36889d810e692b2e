"""Plain kinds of tokens, by their text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["TOKEN_TYPES", "token_texts", "token_types"]

TOKEN_TYPES = (
    "word start",
    "word continuation",
    "number",
    "punctuation",
    "whitespace",
    "special",
    "other",
)
_START, _GOES_ON, _NUMBER, _PUNCTUATION, _SPACE, _SPECIAL, _OTHER = range(len(TOKEN_TYPES))


def token_texts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The text of each token inside a text: with the space before it, where it stands for one.

    Bytes that are part of a character are U+FFFD; special tokens are written out.
    """
    # A decoder may drop the first space of a text: each token comes after another one.
    first = tokenizer.encode("a")[-1:]
    before = tokenizer.decode(first)
    texts = {
        number: tokenizer.decode([*first, number], special=True).removeprefix(before)
        for number in dict.fromkeys(int(each) for each in ids)
    }
    return [texts[int(number)] for number in ids]


def token_types(texts: Sequence[str], special: Sequence[bool] | None = None) -> NDArray[np.int8]:
    """The place in `TOKEN_TYPES` of each token of a text.

    - whitespace: nothing else in it;
    - number: digits and other numerals, with or without space around;
    - punctuation: punctuation and symbols;
    - word: it has a letter. It starts a word if there is space before its first letter or mark, or
      if the token before it does not end with a letter; otherwise it continues one. Scripts
      without spaces between words are continuations, but for the first token;
    - special: stands for no text;
    - other: the rest, such as bytes that are part of a character.

    Args:
        texts: Of the tokens, in their order; see `token_texts`.
        special: Which of them are special tokens; None if none is.

    Returns:
        (T,).
    """
    marks = [False] * len(texts) if special is None else special
    kinds = np.empty(len(texts), np.int8)
    inside = False
    for place, (text, is_special) in enumerate(zip(texts, marks, strict=True)):
        kinds[place] = _SPECIAL if is_special else _type_of(text, inside)
        inside = not is_special and bool(text) and _is_letter(text[-1])
    return kinds


def _type_of(text: str, inside_word: bool) -> int:
    """The type of a token; `inside_word`: whether the one before it ends with a letter."""
    bare = text.strip()
    if not bare:
        return _SPACE if text else _OTHER
    if any(_is_letter(character) for character in bare):
        return _GOES_ON if inside_word and not text[0].isspace() else _START
    categories = {unicodedata.category(character)[0] for character in bare}
    if categories <= {"N"}:
        return _NUMBER
    # The replacement character is a symbol, too.
    if categories <= {"P", "S"} and "\ufffd" not in bare:
        return _PUNCTUATION
    return _OTHER


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"
