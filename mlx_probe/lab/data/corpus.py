"""The text of all sources as one sequence of documents, in an order that never changes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.documents import split_documents
from mlx_probe.lab.data.texts import TextFormat, format_of
from mlx_probe.lab.data.texts.plain import PLAIN

__all__ = ["Corpus", "StoredText", "open_corpus", "unreadable"]

# Files from which `auto` makes each of them a document, in multiples of 1 / validation, and bytes
# of a file from which it does not.
_FILES = 2
_LONG = 4 << 20


@dataclass(frozen=True)
class StoredText:
    """A file of text on this disk.

    Attributes:
        source: The source as the user named it.
        name: Its name within the source.
        path: The file.
        format: How to read it.
    """

    source: str
    name: str
    path: Path
    format: TextFormat

    @property
    def stamp(self) -> tuple[int, int]:
        """Its length, and when it was written in nanoseconds."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise unreadable(self.path, error) from error
        return status.st_size, status.st_mtime_ns

    def open(self) -> BinaryIO:
        """The file, open for reading.

        Raises:
            SourceError: It cannot be read.
        """
        try:
            return self.path.open("rb")
        except OSError as error:
            raise unreadable(self.path, error) from error


@dataclass(frozen=True)
class Corpus:
    """Files of text, and how they become documents.

    Attributes:
        files: In the order in which they are read.
        document: Key of `CUTTERS`.
        column: Column of the text in formats with rows.
    """

    files: tuple[StoredText, ...]
    document: str
    column: str

    def documents(self, file: StoredText, left_out: Counter[str]) -> Iterator[str]:
        """The documents of a file, without empty ones.

        Args:
            file: One of `files`.
            left_out: Counts what is left out, by reason: "empty", "no text".

        Raises:
            SourceError: The file cannot be read, or breaks its format's rules.
        """
        try:
            with file.open() as opened:
                for record in file.format.read(opened, str(file.path), self.column):
                    if record is None:
                        left_out["no text"] += 1
                        continue
                    for document in split_documents(record, self.document):
                        if not document or document.isspace():
                            left_out["empty"] += 1
                        else:
                            yield document
        except OSError as error:
            raise unreadable(file.path, error) from error


def open_corpus(sources: Sequence[str], document: str, column: str, validation: float) -> Corpus:
    """Find the files of the sources.

    Args:
        sources: See `DataConfig`.
        document: A key of `CUTTERS`, or "auto".
        column: See `Corpus`.
        validation: Share of the documents that is for validation.

    Raises:
        SourceError: A source does not exist or has no text.
    """
    files = tuple(file for source in sources for file in _find(source))
    if document == "auto":
        rows = any(file.format.rows for file in files)
        few = len(files) < _FILES / validation
        long = any(file.stamp[0] > _LONG for file in files)
        document = "chunk" if not rows and (few or long) else "file"
    return Corpus(files, document, column)


def _find(source: str) -> Iterator[StoredText]:
    """The files of a source, sorted by name."""
    path = Path(source).expanduser()
    if path.is_file():
        # A file that is named is text, whatever its name ends in.
        yield StoredText(source, path.name, path, format_of(path.name) or PLAIN)
        return
    if not path.is_dir():
        raise SourceError(f"{source} does not exist", "Give a file or folder of text")
    names = sorted(_text_names(path))
    if not names:
        raise SourceError(
            f"{source} holds no text", "Give a folder with .txt or .md files, or name the files"
        )
    for name in names:
        form = format_of(name)
        assert form is not None
        yield StoredText(source, name, path / name, form)


def _text_names(folder: Path) -> Iterable[str]:
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and format_of(name) and path.is_file():
                yield path.relative_to(folder).as_posix()


def _refuse(error: OSError) -> None:
    raise unreadable(Path(error.filename), error) from error


def unreadable(path: Path, error: OSError) -> SourceError:
    """The error for a source that the system cannot or may not read."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return SourceError(f"cannot read {path}: {reason}", "Check that it is there and readable")
