"""The words of a text and how often each occurs, in bounded memory.

A tokenizer is trained on these counts. A word is a run of letters, or of signs, with the spaces
before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

__all__ = ["WordCount", "keep_alphabet", "split_words"]

# Characters that all belong to the script "Common" of Unicode: ASCII without letters, general
# punctuation, CJK punctuation, full-width signs. SentencePiece puts no character of another
# script into one piece with them, so that a cut there loses no piece.
_SIGNS = (
    r"\x00-\x1f!-@\[-`{-\x7f\u2010-\u2027\u2030-\u205e\u3001-\u3004\u3008-\u3020\u3030\uff01-\uff20"
)
_WORD = re.compile(f" *[^ {_SIGNS}]+| *[{_SIGNS}]+| +")
# Longer runs (base64, text without spaces) are cut: pieces have 16 characters at most.
_LONGEST = 256
# Bytes of all different words: the trainers keep up to 170 times as much while they work.
_DISTINCT = 1_500_000
# Characters that are counted at once.
_BLOCK = 100_000


def split_words(text: str) -> list[str]:
    """The words of a text; together they are the text.

    SentencePiece merges no character with one of the next word.
    """
    return _WORD.findall(text)


class WordCount:
    """Counts the words of a sample that passes through it.

    Attributes:
        words: How often each word occurs.
        bytes: UTF-8 bytes that have passed.
    """

    def __init__(self, limit: int, distinct: int = _DISTINCT) -> None:
        """Start with nothing.

        Args:
            limit: Bytes of text after which the sample ends.
            distinct: Bytes of all different words after which it ends.
        """
        self.words: Counter[str] = Counter()
        self.bytes = 0
        self._limit, self._distinct = limit, distinct

    def take(self, texts: Iterable[str]) -> Iterator[str]:
        """The texts, counted, up to the limits.

        Args:
            texts: In the order in which they are taken; the last one may be cut.

        Yields:
            A piece of a text, without halves of surrogate pairs, which UTF-8 does not have.
        """
        for text in texts:
            for start in range(0, len(text), _BLOCK):
                if self.bytes >= self._limit or self._distinct <= 0:
                    return
                # No character has less than one byte.
                part = text[start : start + min(_BLOCK, self._limit - self.bytes)]
                encoded = part.encode("utf-8", "ignore")
                self.bytes += len(encoded)
                part = encoded.decode()
                self._count(part)
                yield part

    def _count(self, text: str) -> None:
        before = len(self.words)
        self.words.update(split_words(text))
        # Counter keeps the order of the first occurrences: the new words come last.
        new = len(self.words) - before
        for _, word in zip(range(new), reversed(self.words), strict=False):
            self._distinct -= len(word.encode())


def keep_alphabet(words: Counter[str], most: int, coverage: float) -> tuple[Counter[str], int]:
    """Cut words at the rare characters, which are left out.

    Args:
        words: From `WordCount`.
        most: Characters that are kept at most, the most frequent ones.
        coverage: Share of the text that the kept characters need to cover, above 0, at most 1.

    Returns:
        The words of the kept characters, and how many characters that are.
    """
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    # Ties by code point: the same counts give the same alphabet whatever came first.
    ranked = sorted(letters.items(), key=lambda item: (-item[1], item[0]))
    wanted, covered = coverage * letters.total(), 0
    kept: set[str] = set()
    for letter, count in ranked[:most]:
        if covered >= wanted:
            break
        kept.add(letter)
        covered += count
    cut: Counter[str] = Counter()
    for word, count in words.items():
        for part in _parts(word, kept):
            for start in range(0, len(part), _LONGEST):
                cut[part[start : start + _LONGEST]] += count
    return cut, len(kept)


def _parts(word: str, kept: set[str]) -> list[str]:
    if kept.issuperset(word):
        return [word]
    return "".join(letter if letter in kept else "\0" for letter in word).split("\0")
