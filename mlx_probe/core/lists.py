"""Lists of names and counts, separated as the reader's language does it."""

from __future__ import annotations

from collections.abc import Iterable

from .language import language

__all__ = ["enumerated"]

# Chinese has a comma of its own between the members of a list.
_SEPARATORS = {"en": ", ", "zh": "、"}


def enumerated(parts: Iterable[str]) -> str:
    """Names, or numbers with their names, as one text.

    Args:
        parts: They contain no commas.
    """
    return _SEPARATORS[language()].join(parts)
