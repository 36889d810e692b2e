"""The rows of a file: JSON Lines, a JSON array, or Parquet, compressed or not.

A broken line is a row of its own kind, so that one of them does not end the job; a file that
breaks as a whole, such as an array with a missing comma, does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.origins.local import unreadable
from mlx_probe.lab.data.texts import format_of
from mlx_probe.lab.data.texts.archive import ARCHIVE
from mlx_probe.lab.data.texts.compression import DAMAGED, decompressed, without_compression
from mlx_probe.lab.data.texts.json_objects import JSON, json_values
from mlx_probe.lab.data.texts.parquet import PARQUET
from mlx_probe.lab.data.texts.plain import decoded

__all__ = ["Broken", "Row", "RowFile", "is_row_file"]

_LONGEST = 64 << 20
_ROWS, _PEEK = 256, 1 << 16
_MARK = b"\xef\xbb\xbf"
_READ = (".json", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class Broken:
    """A line that cannot be read; why."""

    why: str


@dataclass(frozen=True)
class Row:
    """A row, or what is in its place.

    Attributes:
        number: From 0, among the rows of the file.
        value: Any JSON value, or `Broken`.
        read: Bytes of the stored file that are read so far.
    """

    number: int
    value: Any
    read: int


def is_row_file(name: str) -> bool:
    """Whether a file has rows, by its name."""
    return without_compression(name)[0].lower().endswith(_READ)


@dataclass(frozen=True)
class RowFile:
    """A file of rows.

    Attributes:
        source: The source as the user named it.
        name: The file's name within the source.
        path: Where it is.
    """

    source: str
    name: str
    path: Path

    def rows(self) -> Iterator[Row]:
        """Read the rows.

        Raises:
            SourceError: The file cannot be read, or breaks its format's rules.
        """
        name, form = str(self.path), format_of(self.path.name)
        suffix = without_compression(self.path.name)[1]
        if form is ARCHIVE or (form is PARQUET and suffix):
            raise SourceError(f"{name} is packed in a way that is not read here", "Unpack it")
        try:
            lines = form is not JSON or self._has_lines(suffix)
            with self.path.open("rb") as stored:
                content = decompressed(stored, suffix)
                if form is PARQUET:
                    values = _parquet(stored, name)
                elif lines:
                    values = _lines(content)
                else:
                    values = json_values(decoded(content, name), name)
                for number, value in enumerate(values):
                    yield Row(number, value, stored.tell())
        except OSError as error:
            if error.errno:
                raise unreadable(self.path, error) from error
            raise _damaged(self.path, error) from error
        except DAMAGED as error:
            raise _damaged(self.path, error) from error

    def _has_lines(self, suffix: str) -> bool:
        """Whether a .json file is one object a line, as BFCL's are."""
        with self.path.open("rb") as stored:
            content = decompressed(stored, suffix)
            begin = content.read(_PEEK).removeprefix(_MARK).lstrip()
            if not begin.startswith(b"{"):
                return False
            line = begin if b"\n" in begin else begin + content.readline(_LONGEST)
            try:
                return isinstance(json.loads(line.partition(b"\n")[0]), dict)
            except (ValueError, RecursionError):
                return False


def _lines(content: BinaryIO) -> Iterator[Any]:
    first = True
    while line := content.readline(_LONGEST + 1):
        if len(line) > _LONGEST:
            yield Broken(f"the line is longer than {_LONGEST >> 20} MiB")
            while line and not line.endswith(b"\n"):
                line = content.readline(_LONGEST)
            continue
        text = line.removeprefix(_MARK) if first else line
        first = False
        if text.isspace() or not text:
            continue
        try:
            yield json.loads(text)
        except UnicodeDecodeError:
            yield Broken("the line is not UTF-8")
        except (ValueError, RecursionError) as error:
            yield Broken(f"the line is not JSON: {error}")


def _parquet(stored: BinaryIO, name: str) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(stored)
        for batch in table.iter_batches(_ROWS, use_threads=False):
            yield from map(_given, batch.to_pylist())
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(
            f"{name} is damaged, or no Parquet file: {error}", "Get the file again"
        ) from error


def _given(value: Any) -> Any:
    """Without the keys that other rows have and this one has not: Parquet fills them with null."""
    if isinstance(value, dict):
        return {key: _given(inner) for key, inner in value.items() if inner is not None}
    return [_given(inner) for inner in value] if isinstance(value, list) else value


def _damaged(path: Path, error: Exception) -> SourceError:
    return SourceError(f"{path} is damaged: {error}", "Get the file again, or leave it out")
