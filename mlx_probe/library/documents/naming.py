"""File names and ids of documents."""

from __future__ import annotations

import re
import unicodedata
from datetime import date

from mlx_probe.core.errors import ConfigError

from .project import KINDS

__all__ = ["document_id", "file_stem", "words_of"]

# Characters of a file's name: titles may be sentences.
_MOST = 60
# Kinds of which there are many of one name over the years.
_DATED = ("experiment", "problem", "lesson")


def words_of(title: str) -> str:
    """A title as it stands in names: lower case, words joined by _; Chinese stays.

    Raises:
        ConfigError: It has neither letters nor digits.
    """
    plain = unicodedata.normalize("NFC", title).lower()
    words = re.sub(r"[^\w]+", "_", plain).strip("_")
    if not re.search(r"[^\W_]", words):
        raise ConfigError(f"the title {title!r} has no letters", "Name what the document is about")
    if len(words) > _MOST:
        # Whole words only; a title without any is cut.
        cut = words[: _MOST + 1].rpartition("_")[0]
        words = cut if len(cut) > _MOST // 2 else words[:_MOST]
    return words.strip("_")


def file_stem(kind: str, title: str, day: date) -> str:
    """Name of a document's file, without suffix."""
    words = words_of(title)
    return f"{day.isoformat()}_{words}" if kind in _DATED else words


def document_id(kind: str, title: str, day: date) -> str:
    """What other documents may call it by."""
    return f"{KINDS[kind].prefix}_{day:%Y%m%d}_{words_of(title)}"
