"""The finished rows of a job on disk, so that it can resume where it stopped."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import LineWriter, whole_lines, write_error
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.table.strict_json import encode

__all__ = ["Journal"]

_FORMAT_VERSION = 1
_log = logging.getLogger(__name__)


class Journal:
    """An append-only file of finished rows, in the order in which they finish.

    The first line identifies the run. One line for each process that worked on it and one for
    each finished row follow, all strict JSON. A row is finished when its line is complete. No
    other process can open an open journal. Only one thread may use it at a time.

    Attributes:
        path: The file.
        rows: Rows recovered at opening, by `Row.index`; appended rows are not added.
    """

    def __init__(
        self, path: Path, fingerprint: str, columns: Sequence[Column], resume: bool = True
    ) -> None:
        """Open or create the journal and recover what an earlier process finished.

        An incomplete last line is cut off. A damaged line and all lines after it are dropped. A
        file of another run, format or table is kept under the name ``*.old``.

        Args:
            path: The file; its folder exists.
            fingerprint: Hex digits that change with everything that decides a row's values.
            columns: Columns of the rows.
            resume: Whether to recover rows; otherwise those in the file are dropped.

        Raises:
            ResultError: Another process has it open, or the disk refuses.
        """
        self.path = path
        self.rows: dict[int, Row] = {}
        # Where in the file the line of a row with singular values begins.
        self._spectra: dict[int, int] = {}
        self._types = {column.name: column.type for column in columns}
        header = {
            "journal": _FORMAT_VERSION,
            "fingerprint": fingerprint,
            "columns": list(self._types),
        }
        try:
            file = _open_locked(path)
            try:
                if not resume:
                    os.ftruncate(file.fileno(), 0)
                elif _is_foreign(path, header):
                    kept = path.with_name(f"{path.name}.old")
                    _log.warning("%s belongs to another run; kept as %s", path, kept.name)
                    path.replace(kept)
                    file.close()
                    file = _open_locked(path)
                self._lines = LineWriter(file, self._recover())
                if self._lines.end == 0:
                    self._lines.append(encode(header))
                self._lines.append(encode({"pid": os.getpid()}))
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise write_error(path, error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, row: Row) -> None:
        """Put a finished row on disk.

        Raises:
            ResultError: The disk is full or fails; rows appended before are safe.
        """
        try:
            record: dict[str, Any] = {"index": row.index, "values": row.values}
            if row.sigma is not None:
                record["sigma"] = b64encode(row.sigma.astype("<f8").tobytes()).decode("ascii")
            begin = self._lines.append(encode(record))
            if row.sigma is not None:
                self._spectra[row.index] = begin
        except OSError as error:
            raise ResultError(
                f"{write_error(self.path, error).fact}; finished rows are safe",
                "Free space on that disk and run the same command again to resume",
            ) from error

    def spectra(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Singular values of the rows that have some, in the order of `Row.index`.

        They are kept on disk only: those of a large model are gigabytes.

        Raises:
            ResultError: The file can no longer be read.
        """
        try:
            with self.path.open("rb") as file:
                for index in sorted(self._spectra):
                    file.seek(self._spectra[index])
                    stored = b64decode(_parse(file.readline())["sigma"])
                    yield index, np.frombuffer(stored, "<f8")
        except (OSError, KeyError, ValueError) as error:
            raise ResultError(
                f"{self.path} cannot be read any more: {error}", "Run the same command again"
            ) from error

    def discard(self) -> None:
        """Delete the file: its rows are in the finished table, or not wanted."""
        # Delete before unlocking: otherwise another process could resume from it in between.
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let other processes open the journal; the rows stay on disk."""
        self._lines.close()

    def _recover(self) -> int:
        """Fill ``rows`` from the file; return how many of its bytes are intact."""
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(whole_lines(file), start=1):
                record = _parse(line)
                if number > 1 and "pid" not in record:
                    row = self._to_row(record)
                    if row is None:
                        message = "%s is damaged at line %d: from there on rows are computed again"
                        _log.warning(message, self.path, number)
                        break
                    self.rows[row.index] = row
                    if "sigma" in record:
                        self._spectra[row.index] = end
                end += len(line)
        return end

    def _to_row(self, record: dict[str, Any]) -> Row | None:
        try:
            values = {
                name: _from_json(value, self._types[name])
                for name, value in record["values"].items()
            }
            return Row(int(record["index"]), values)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def _open_locked(path: Path) -> BinaryIO:
    while True:
        file = path.open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise ResultError(
                f"another run is writing here (pid {_last_pid(path)}): {path}",
                "Wait until it has ended, or choose another path with --out",
            ) from error
        except OSError as error:
            _log.warning("%s: this file system has no locks (%s)", path, error.strerror)
        # The last holder may have deleted the file between our opening and locking it.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _is_foreign(path: Path, header: dict[str, Any]) -> bool:
    """Whether the file has a complete first line that is not ``header``."""
    with path.open("rb") as file:
        line = file.readline()
    return line.endswith(b"\n") and _parse(line) != header


def _last_pid(path: Path) -> str:
    with suppress(OSError):
        for line in reversed(path.read_bytes().split(b"\n")):
            if "pid" in (record := _parse(line)):
                return str(record["pid"])
    return "unknown"


def _parse(line: bytes) -> dict[str, Any]:
    """The line's JSON object; an empty one if it is anything else."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _from_json(value: Any, column_type: str) -> Any:
    if value is None:
        return None
    if column_type == "timestamp":
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    return tuple(value) if isinstance(value, list) else value
