"""The first reading: hash and length of every document, and hash of every file.

files.jsonl     one line a file that was read to its end
documents.bin   one record a document, in the order of the corpus; see `RECORD`
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import LineWriter, sha256_file, whole_lines, write_all
from mlx_probe.lab.data.corpus import Corpus, LeftOut, StoredText
from mlx_probe.lab.data.origins.local import unreadable

__all__ = ["RECORD", "Census", "FileCount", "changed", "has_changed", "is_stale", "take_census"]

# The first 16 bytes of the document's SHA-256 as two numbers, the more significant first, and the
# bytes of its text. Two different documents agree in 16 bytes with a chance of 1e-22 in ten
# million.
RECORD = np.dtype([("high", ">u8"), ("low", ">u8"), ("bytes", "<u4")])
_FILES = "files.jsonl"
# Records that are written at a time.
_BLOCK = 4096


@dataclass(frozen=True)
class FileCount:
    """What a file holds.

    Attributes:
        sha256: Of its bytes as stored.
        bytes: Its length as stored.
        modified: When it was written, in nanoseconds.
        documents: Documents, the empty ones not counted.
        left_out: What was left out, by reason; see `LeftOut`.
        first: Number of the first record that was left out, by reason.
        columns: Columns of the first record that lacks the text column.
    """

    sha256: str
    bytes: int
    modified: int
    documents: int
    left_out: dict[str, int]
    first: dict[str, int]
    columns: list[str]


@dataclass(frozen=True)
class Census:
    """What the files of a corpus hold.

    Attributes:
        files: In the order of the corpus.
        path: `documents.bin`.
    """

    files: tuple[FileCount, ...]
    path: Path

    @property
    def documents(self) -> int:
        """Documents in all files."""
        return sum(file.documents for file in self.files)

    def records(self) -> NDArray[np.void]:
        """`RECORD` of every document, mapped into memory; shape (documents,)."""
        if not self.documents:
            return np.empty(0, RECORD)
        return np.memmap(self.path, RECORD, "r", shape=(self.documents,))


def take_census(corpus: Corpus, folder: Path, on_bytes: Callable[[int], None]) -> Census:
    """Read all files; go on behind the last file that an earlier process finished.

    Args:
        corpus: The files.
        folder: Where the two files go.
        on_bytes: Called with the length of a file when it is finished.

    Raises:
        SourceError: A file cannot be read, breaks its format's rules, or has changed since an
            earlier process or this one read it.
        OSError: The disk refused.
    """
    lines_path, path = folder / _FILES, folder / "documents.bin"
    files, end = _finished(lines_path)
    for file, count in zip(corpus.files, files, strict=False):
        if changed(file, count):
            raise has_changed(file)
        on_bytes(count.bytes)
    lines = LineWriter(lines_path.open("ab", buffering=0), end)
    with path.open("ab", buffering=0) as records:
        os.ftruncate(records.fileno(), sum(file.documents for file in files) * RECORD.itemsize)
        try:
            for file in corpus.files[len(files) :]:
                count = _read(corpus, file, records)
                os.fsync(records.fileno())
                lines.append(json.dumps(asdict(count)))
                files.append(count)
                on_bytes(count.bytes)
        finally:
            lines.close()
    _refuse_without_column(corpus, files)
    return Census(tuple(files), path)


def _refuse_without_column(corpus: Corpus, files: Sequence[FileCount]) -> None:
    """Refuse a source of which no row has the text column; other files of it may lack it."""
    documents: dict[str, int] = {}
    lacking: dict[str, tuple[StoredText, FileCount]] = {}
    for file, count in zip(corpus.files, files, strict=True):
        documents[file.source] = documents.get(file.source, 0) + count.documents
        if count.left_out.get("no column"):
            lacking.setdefault(file.source, (file, count))
    for source, (file, count) in lacking.items():
        if not documents[source]:
            raise SourceError(
                f"{file.path} has no column {corpus.column!r}; it has {', '.join(count.columns)}",
                "Name the column of the text with --text-column",
            )


def is_stale(corpus: Corpus, folder: Path) -> bool:
    """Whether files have changed since an earlier process counted them."""
    files, _ = _finished(folder / _FILES)
    return any(changed(file, count) for file, count in zip(corpus.files, files, strict=False))


def _finished(path: Path) -> tuple[list[FileCount], int]:
    """The files that earlier processes counted, and where their lines end in bytes."""
    files: list[FileCount] = []
    end = 0
    if path.exists():
        with path.open("rb") as stored:
            for line in whole_lines(stored):
                files.append(FileCount(**json.loads(line)))
                end += len(line)
    return files, end


def changed(file: StoredText, count: FileCount) -> bool:
    """Whether a file has another content than when it was counted; reads it only in doubt."""
    size, modified = file.stamp
    if size == count.bytes and modified == count.modified:
        return False
    return size != count.bytes or _hash(file) != count.sha256


def has_changed(file: StoredText) -> SourceError:
    """The error for a file that is no longer the one that was counted."""
    return SourceError(
        f"{file.path} has changed since its text was read",
        "Tokenize the text again with --overwrite, or restore the file",
    )


def _read(corpus: Corpus, file: StoredText, records: IO[bytes]) -> FileCount:
    before, digest = file.stamp, _hash(file)
    left_out = LeftOut()
    block: list[bytes] = []
    documents = 0
    for document in corpus.documents(file, left_out):
        data = document.encode()
        block.append(hashlib.sha256(data).digest()[:16] + len(data).to_bytes(4, "little"))
        documents += 1
        if len(block) == _BLOCK:
            write_all(records, b"".join(block))
            block.clear()
    write_all(records, b"".join(block))
    if file.stamp != before:
        raise has_changed(file)
    columns = list(left_out.columns)
    return FileCount(digest, *before, documents, left_out.counts, left_out.first, columns)


def _hash(file: StoredText) -> str:
    try:
        return sha256_file(file.path)
    except OSError as error:
        raise unreadable(file.path, error) from error
