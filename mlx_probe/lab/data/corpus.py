"""The text of all sources as one sequence of documents, in an order that never changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.documents import split_documents
from mlx_probe.lab.data.origins import find_texts
from mlx_probe.lab.data.origins.local import unreadable
from mlx_probe.lab.data.texts import NoText, TextFormat, format_of
from mlx_probe.lab.data.texts.compression import DAMAGED, decompressed, without_compression
from mlx_probe.lab.data.texts.plain import PLAIN

if TYPE_CHECKING:
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["Corpus", "LeftOut", "StoredText", "open_corpus"]

# With "auto", plain files are documents if there are so many of them, in multiples of
# 1 / validation, and none of them is longer than so many bytes as stored.
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
        compression: Key of `COMPRESSIONS`, or "".
    """

    source: str
    name: str
    path: Path
    format: TextFormat
    compression: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        """Its length, and when it was written in nanoseconds.

        Raises:
            SourceError: It is not there.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            raise unreadable(self.path, error) from error
        return status.st_size, status.st_mtime_ns


@dataclass
class LeftOut:
    """What a file holds beside documents.

    Attributes:
        counts: Records or documents that were left out, by reason: "empty", "no text" (null, NaN
            or half a surrogate pair), "no column".
        first: Number of the first such record, from 1.
        columns: Columns of the first record that lacks the text column.
    """

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def add(self, reason: str, record: int) -> None:
        """Count one."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, record)


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

    def documents(self, file: StoredText, left_out: LeftOut) -> Iterator[str]:
        """The documents of a file, without empty ones.

        Args:
            file: One of `files`.
            left_out: Counts what is left out.

        Raises:
            SourceError: The file cannot be read, or breaks its format's rules.
        """
        try:
            with file.path.open("rb") as stored:
                content = decompressed(stored, file.compression)
                records = file.format.read(content, str(file.path), self.column)
                for number, record in enumerate(records, 1):
                    if isinstance(record, NoText):
                        left_out.add(record.reason, number)
                        left_out.columns = left_out.columns or record.columns
                        continue
                    for document in split_documents(record, self.document):
                        if not document or document.isspace():
                            left_out.add("empty", number)
                        else:
                            yield document
        except OSError as error:
            # Libraries raise it without a number for damaged data.
            if error.errno:
                raise unreadable(file.path, error) from error
            raise _damaged(file.path, error) from error
        except DAMAGED as error:
            raise _damaged(file.path, error) from error


def open_corpus(
    sources: Sequence[str],
    document: str,
    column: str,
    validation: float,
    progress: DownloadProgress | None = None,
) -> Corpus:
    """Find the files of the sources; fetch what is not on this disk.

    Args:
        sources: See `DataConfig`.
        document: A key of `CUTTERS`, or "auto".
        column: See `Corpus`.
        validation: Share of the documents that is for validation.
        progress: Shows how far a download is; None for nothing.

    Raises:
        SourceError: A source does not exist, has no text, or cannot be fetched.
    """
    files = []
    for source in dict.fromkeys(sources):
        for name, path in find_texts(source, progress).items():
            form, suffix = format_of(path.name) or PLAIN, without_compression(path.name)[1]
            if form.seeks and suffix:
                raise SourceError(f"{path}: {form.title} is not read compressed", "Unpack it")
            files.append(StoredText(source, name, path, form, suffix))
    if document == "auto":
        rows = any(file.format.rows for file in files)
        few = len(files) < _FILES / validation
        long = any(file.stamp[0] > _LONG for file in files)
        document = "chunk" if not rows and (few or long) else "file"
    return Corpus(tuple(files), document, column)


def _damaged(path: Path, error: Exception) -> SourceError:
    return SourceError(f"{path} is damaged: {error}", "Get the file again, or leave it out")
