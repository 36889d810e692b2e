"""The audit log: one line of JSON for each request, written before it is answered.

A line is ASCII without line breaks, whatever a client sends: no text of a request can look like a
second line. An answer that the client did not take whole gets a line of its own, `cut`; `start`
and `stop` are those of the server.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import LineWriter, whole_lines, write_error
from mlx_probe.library.share.tokens import TOKEN

__all__ = ["AuditError", "AuditLog", "Entry", "hidden", "read_audit"]

_CUT = "not taken whole"
# Characters of a text from a client that a line has.
_LONGEST = 400
_QUERY_TOKEN = re.compile(r"(?i)((?:token|%74oken)=)[^&\s]*")


class AuditError(ResultError):
    """The audit log cannot be written: nothing more may be served."""


def hidden(text: str) -> str:
    """A text from a client without any token, cut where it is long."""
    shown = TOKEN.sub("mps1…", _QUERY_TOKEN.sub(r"\1…", text))
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


class AuditLog:
    """Appends to the log; several servers may share it.

    Args:
        path: The file; made if it is not there, for this user only.

    Raises:
        AuditError: It cannot be opened, or is no file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = secrets.token_hex(4)
        self._lock = threading.Lock()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "ab", buffering=0)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                self._file.close()
                raise OSError("it is no file")
            self._end_torn_line()
        except OSError as error:
            raise self._failure(error) from error

    def append(self, event: str, **fields: Any) -> None:
        """Write a line.

        Raises:
            AuditError: The disk refused, or the file is gone.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"event": event, "time": now, "server": self.server, **fields})
        with self._lock:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                try:
                    state = os.fstat(self._file.fileno())
                    if state.st_nlink == 0:
                        raise OSError("somebody has deleted it")
                    LineWriter(self._file, state.st_size).append(line)
                finally:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
            except (OSError, ValueError) as error:
                raise self._failure(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _end_torn_line(self) -> None:
        """A line that a power cut tore stays, and gets an end."""
        size = os.fstat(self._file.fileno()).st_size
        if size and os.pread(self._file.fileno(), 1, size - 1) != b"\n":
            self._file.write(b"\n")

    def _failure(self, error: Exception) -> AuditError:
        if isinstance(error, OSError) and error.errno:
            known = write_error(self.path, error)
            fact, remedy = known.fact, known.remedy.replace("--out", "--audit")
        else:
            fact, remedy = f"cannot write {self.path}: {error}", "Name another file with --audit"
        return AuditError(f"nothing is served without the audit log: {fact}", remedy)


@dataclass(frozen=True)
class Entry:
    """A request, as the log has it.

    Attributes:
        time: When, ISO 8601 in UTC.
        guest: Who; "" for nobody.
        address: From where.
        method: "GET" and the like; "" if there was no request.
        path: What was asked for.
        status: The answer's status; 0 if there was no answer.
        bytes: Bytes of the answer that were sent.
        reason: Why it was refused, or what else is to be said; "" for nothing.
    """

    time: str
    guest: str
    address: str
    method: str
    path: str
    status: int
    bytes: int
    reason: str

    @property
    def is_refused(self) -> bool:
        """Whether the answer was no page, no file and no welcome."""
        return self.status not in (200, 303)


def read_audit(path: Path) -> Iterator[Entry | None]:
    """The log's requests in order.

    Args:
        path: The file.

    Yields:
        Each request, with what was really sent of its answer; None for a damaged line.

    Raises:
        ResultError: It cannot be read.
    """
    cut: dict[tuple[str, int], int] = {}
    try:
        # Twice: what was cut stands behind what is cut. A log of any size fits.
        for record in _records(path):
            if record is not None and record.get("event") == "cut":
                cut[str(record.get("server")), record.get("number", 0)] = record.get("bytes", 0)
        for record in _records(path):
            if record is None:
                yield None
            elif record.get("event") == "request":
                yield _entry(record, cut)
    except OSError as error:
        raise ResultError(
            f"cannot read {path}: {os.strerror(error.errno or 0)}",
            "Name the log of `mlx-probe share --audit FILE`",
        ) from error


def _entry(record: dict[str, Any], cut: dict[tuple[str, int], int]) -> Entry | None:
    try:
        sent = cut.get((record["server"], record["number"]))
        reasons = [record["reason"], *([] if sent is None else [_CUT])]
        return Entry(
            time=str(record["time"]),
            guest=str(record["guest"]),
            address=str(record["address"]),
            method=str(record["method"]),
            path=str(record["path"]),
            status=int(record["status"]),
            bytes=int(record["bytes"]) if sent is None else sent,
            reason="; ".join(filter(None, reasons)),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _records(path: Path) -> Iterator[dict[str, Any] | None]:
    with path.open("rb") as file:
        for line in whole_lines(file):
            try:
                record = json.loads(line)
                yield record if isinstance(record, dict) else None
            except ValueError:
                yield None
