"""What a format of text is: one record in `TEXTS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["NoText", "ReadRecords", "Record", "TextFormat"]


@dataclass(frozen=True)
class NoText:
    """A record without text.

    Attributes:
        reason: "no text" (null, NaN or half a surrogate pair), or "no column".
        columns: With "no column": those that the record has.
    """

    reason: str
    columns: tuple[str, ...] = ()


# The text of a record in pieces of any length.
Record = Iterable[str] | NoText

# Given a file, its name for messages, and the text column: yields the records. Raises SourceError
# where the file breaks the format's rules.
ReadRecords = Callable[[BinaryIO, str, str], Iterator[Record]]


@dataclass(frozen=True)
class TextFormat:
    """A format of files that hold text.

    Attributes:
        title: What it is, for the documentation.
        suffixes: Ends of the names of its files, in lower case.
        read: Reads a file.
        rows: Whether a file has many records, each a text of its own.
        seeks: Whether the file must allow to seek, which compressed ones do not.
    """

    title: str
    suffixes: tuple[str, ...]
    read: ReadRecords
    rows: bool = True
    seeks: bool = False
