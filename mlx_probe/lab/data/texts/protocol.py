"""What a format of text is: one record in `TEXTS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["ReadRecords", "Record", "TextFormat"]

# The text of a record in pieces; None where it has none.
Record = Iterable[str] | None


ReadRecords = Callable[[BinaryIO, str, str], Iterator[Record]]


@dataclass(frozen=True)
class TextFormat:
    """A format of files that hold text.

    Attributes:
        title: What it is, for the documentation.
        suffixes: Ends of the names of its files, in lower case.
        read: Given an open file, its name for messages and the text column: yields the records.
            Raises SourceError where the file breaks the format's rules.
        rows: Whether a file has many records, each of them a text of its own.
        seeks: Whether the file must allow to seek, which compressed ones do not.
    """

    title: str
    suffixes: tuple[str, ...]
    read: ReadRecords
    rows: bool = True
    seeks: bool = False
