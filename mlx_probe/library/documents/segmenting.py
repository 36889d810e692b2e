"""Words of a text as the search index has them: Chinese characters one by one."""

from __future__ import annotations

import re

__all__ = ["joined", "query_expression", "segmented"]

# Han, kana and Hangul, which have no blanks between words, or words with endings.
_IDEOGRAPH = (
    "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_EACH = re.compile(f"([{_IDEOGRAPH}])")
# A phrase in quotation marks, or a word.
_PART = re.compile(r"[\"“]([^\"”]*)[\"”]|([^\s\"“”]+)")
_TOKEN = re.compile(f"[{_IDEOGRAPH}]|[^\\W_{_IDEOGRAPH}]+")
# More words are a text, not a question.
_MOST = 32


# No letter, and nothing that a text needs: it parts words for the index, and is taken out again.
_PARTING = "\u200b"


def segmented(text: str) -> str:
    """A text with a mark around each Chinese character, for the index.

    So a query of any length is found: an index of trigrams finds none of two characters.
    """
    return _EACH.sub(rf"{_PARTING}\1{_PARTING}", joined(text))


def joined(text: str) -> str:
    """A text without the marks of `segmented`."""
    return text.replace(_PARTING, "")


def _phrases(query: str) -> list[list[str]]:
    """Words of a query, each as the tokens that have to follow each other."""
    plain = query.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    found = []
    for quoted, word in _PART.findall(plain):
        tokens = _TOKEN.findall((quoted or word).lower())
        if tokens:
            found.append(tokens)
    return found[:_MOST]


def query_expression(query: str, every: bool = True) -> str:
    """A query as an expression of FTS5; "" if it has no words.

    Only letters and digits come from the query, in quotation marks: no syntax does.

    Args:
        query: What a user wrote; words in quotation marks have to follow each other.
        every: Whether a text must have all of the words, or any.
    """
    parts = []
    for tokens in _phrases(query):
        phrase = f'"{" ".join(tokens)}"'
        # The beginning of a word is enough, but of Chinese, whose words are not separated.
        parts.append(phrase if _EACH.fullmatch(tokens[-1]) else f"{phrase} *")
    return (" AND " if every else " OR ").join(parts)
