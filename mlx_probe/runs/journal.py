"""The finished rows of a job on disk, so that it can resume where it stopped."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from sys import intern
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.collecting import uncollected
from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import LineWriter, whole_lines, write_error
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.table.strict_json import encode

__all__ = ["Journal", "JournalRows", "refuse_busy"]

_FORMAT_VERSION = 1
_log = logging.getLogger(__name__)


class JournalRows(Mapping[int, Row]):
    """The rows of a journal by `Row.index`, in the order in which they were first finished.

    Args:
        path: The journal's file.
        types: Type of each column.

    Attributes:
        begins: Where the line of each row begins, in bytes.
        statuses: The status of each row that has one, without a look at the file.
    """

    def __init__(self, path: Path, types: Mapping[str, str]) -> None:
        self._path, self._types = path, types
        self._times = [name for name, kind in types.items() if kind == "timestamp"]
        self.begins: dict[int, int] = {}
        self.statuses: dict[int, str] = {}

    def __getitem__(self, index: int) -> Row:
        (row,) = self.read([index])
        return row

    # Without this a look whether a row is there would read it.
    def __contains__(self, index: object) -> bool:
        return index in self.begins

    def __iter__(self) -> Iterator[int]:
        return iter(self.begins)

    def __len__(self) -> int:
        return len(self.begins)

    def read(self, indices: Iterable[int]) -> Iterator[Row]:
        """Rows without their singular values, one at a time in memory.

        Args:
            indices: Which, in any order.

        Raises:
            KeyError: There is no such row.
            ResultError: The file can no longer be read.
        """
        for record in _records(self._path, (self.begins[index] for index in indices)):
            row = self.of_record(record)
            if row is None:
                raise _unreadable(self._path, "a finished row is damaged")
            yield row

    def add(self, index: int, values: Mapping[str, Any], begin: int) -> None:
        """Know of a row whose line begins there."""
        self.begins[index] = begin
        if "status" in values:
            self.statuses[index] = intern(values["status"])

    def is_row(self, record: Mapping[str, Any]) -> bool:
        """Whether `of_record` gives a row, in a tenth of its time."""
        values, index = record.get("values"), record.get("index")
        if not isinstance(values, dict) or not isinstance(index, int):
            return False
        try:
            for name in self._times:
                _from_json(values.get(name), "timestamp")
        except (AttributeError, TypeError, ValueError):
            return False
        return values.keys() <= self._types.keys() and isinstance(values.get("status", ""), str)

    def of_record(self, record: Mapping[str, Any]) -> Row | None:
        """The row of a line of the file; None if it is not one."""
        try:
            values = {
                name: _from_json(value, self._types[name])
                for name, value in record["values"].items()
            }
            return Row(int(record["index"]), values)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


class Journal:
    """An append-only file of finished rows, in the order in which they finish.

    The first line identifies the run. One line for each process that worked on it, one for
    each finished row, and now and then one with the cost so far follow, all strict JSON. A row
    is finished when its line is complete. No other process can open an open journal. Any thread
    may append.

    Attributes:
        path: The file.
        rows: The finished rows by `Row.index`, those of earlier processes first. They are read
            from the file when they are asked for: all rows of a large model take gigabytes.
        starts: The last known cost of each earlier process, in order; empty if it noted none.
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
        self.rows = JournalRows(path, {column.name: column.type for column in columns})
        self.starts: list[Mapping[str, Any]] = []
        self._lock = threading.Lock()
        # The rows with singular values.
        self._spectra: set[int] = set()
        header = {
            "journal": _FORMAT_VERSION,
            "fingerprint": fingerprint,
            "columns": [column.name for column in columns],
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

    def append(self, *rows: Row) -> None:
        """Put finished rows on disk.

        Raises:
            ResultError: The disk is full or fails; rows appended before are safe.
        """
        records: list[dict[str, Any]] = []
        for row in rows:
            records.append({"index": row.index, "values": row.values})
            if row.sigma is not None:
                spectrum = b64encode(row.sigma.astype("<f8").tobytes())
                records[-1]["sigma"] = spectrum.decode("ascii")
        try:
            with self._lock:
                begins = self._lines.append(*map(encode, records))
        except OSError as error:
            raise ResultError(
                f"{write_error(self.path, error).fact}; finished rows are safe",
                "Free space on that disk and run the same command again to resume",
            ) from error
        for row, begin in zip(rows, begins, strict=True):
            self.rows.add(row.index, row.values, begin)
            self._note_spectrum(row.index, row.sigma is not None)

    def note(self, cost: Mapping[str, Any]) -> None:
        """Put what this process has cost so far on disk; a disk that refuses is no failure."""
        line = encode({"pid": os.getpid(), "cost": cost})
        with self._lock, suppress(OSError, ValueError):  # closed
            self._lines.append(line)

    def spectra(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Singular values of the rows that have some, in the order of `Row.index`.

        They are kept on disk only: those of a large model are gigabytes.

        Raises:
            ResultError: The file can no longer be read.
        """
        indices = sorted(self._spectra)
        records = _records(self.path, (self.rows.begins[index] for index in indices))
        try:
            for index, record in zip(indices, records, strict=True):
                yield index, np.frombuffer(b64decode(record["sigma"]), "<f8")
        except (KeyError, ValueError) as error:
            raise _unreadable(self.path, error) from error

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

    def _note_spectrum(self, index: int, there: bool) -> None:
        # A row replaces an earlier one, which may have had singular values.
        (self._spectra.add if there else self._spectra.discard)(index)

    @uncollected()
    def _recover(self) -> int:
        """Find the finished rows in the file; return how many of its bytes are intact."""
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(whole_lines(file), start=1):
                record = _parse(line)
                if number > 1 and "pid" in record:
                    self._recover_cost(record)
                elif number > 1:
                    if not self.rows.is_row(record):
                        message = "%s is damaged at line %d: from there on rows are computed again"
                        _log.warning(message, self.path, number)
                        break
                    self.rows.add(record["index"], record["values"], end)
                    self._note_spectrum(record["index"], "sigma" in record)
                end += len(line)
        return end

    def _recover_cost(self, record: dict[str, Any]) -> None:
        cost = record.get("cost")
        if not isinstance(cost, dict):
            self.starts.append({})
        elif self.starts:
            self.starts[-1] = cost


def refuse_busy(path: Path) -> None:
    """Refuse a journal that another process has open; it need not exist.

    Raises:
        ResultError: It is open.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _busy(path) from error
        except OSError:
            return  # no locks there


def _busy(path: Path) -> ResultError:
    pid = _last_pid(path)
    return ResultError(
        f"another run is writing here (pid {pid}): {path}",
        f"Watch it with `mlx-probe monitor {pid}` and wait until it has ended, "
        "or choose another path with --out",
    )


def _open_locked(path: Path) -> BinaryIO:
    while True:
        file = path.open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise _busy(path) from error
        except OSError as error:
            _log.warning("%s: this file system has no locks (%s)", path, error.strerror)
        # The last holder may have deleted the file between our opening and locking it.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _records(path: Path, begins: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The JSON objects of the lines that begin there."""
    try:
        with path.open("rb") as file:
            for begin in begins:
                file.seek(begin)
                yield _parse(file.readline())
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, reason: object) -> ResultError:
    return ResultError(f"{path} cannot be read any more: {reason}", "Run the same command again")


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
