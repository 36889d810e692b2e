"""What a check of documents found, and what a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .surroundings import Document, Surroundings

__all__ = ["DocumentFinding", "DocumentRule"]


@dataclass(frozen=True, order=True)
class DocumentFinding:
    """A fault of a document.

    Attributes:
        file: The document.
        line: Number of the line, from 1.
        rule: Key of `RULES`.
        message: What is wrong.
    """

    file: Path
    line: int
    rule: str
    message: str


@dataclass(frozen=True)
class DocumentRule:
    """Something that a document must have or not have.

    Attributes:
        about: What it finds, for the documentation.
        find: Gives line and message of each fault of a document.
        applies: Which documents it is for: "all", or those of a "project", which are the ones
            below a folder that `docs init` made and those that say their `kind` themselves.
        quotes: Whether a message ends with a colon and what the document says, which no language
            changes.
    """

    about: str
    find: Callable[[Document, Surroundings], Iterable[tuple[int, str]]]
    applies: str = "all"
    quotes: bool = False
