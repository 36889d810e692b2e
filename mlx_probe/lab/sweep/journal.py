"""sweep.jsonl: what became of each trial, one JSON object a line; it is only appended to."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import LineWriter, whole_lines, write_error
from mlx_probe.runs.table.strict_json import encode

__all__ = ["JOURNAL", "SweepJournal"]

JOURNAL = "sweep.jsonl"


class SweepJournal:
    """The journal of a sweep; no other process has it open.

    The first line says which sweep it is. Of the lines of a trial the last one counts.

    Args:
        folder: The folder of the sweep; it is made.
        about: What says which sweep it is: "fingerprint" and others.

    Attributes:
        entries: The last line of each trial, by its number.

    Raises:
        ResultError: It is of another sweep, another process has it, it is damaged, or the disk
            refused.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.path = folder / JOURNAL
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            self._lock()
            first, self.entries, end = self._read()
            self._lines = LineWriter(self._file, end)
            if first is None:
                self._append({"sweep": dict(about)})
            elif first.get("fingerprint") != about["fingerprint"]:
                raise ResultError(
                    f"{folder} holds a sweep of another command or of other parameters",
                    "Choose another folder with --out",
                )
        except BaseException:
            self._file.close()
            raise

    def append(self, number: int, state: str, **facts: Any) -> None:
        """Write what became of a trial.

        Args:
            number: Of the trial.
            state: "started", "finished" or "failed".
            **facts: "reason", "seconds" and others.

        Raises:
            ResultError: The disk refused.
        """
        entry = {"trial": number, "state": state, **facts}
        self._append(entry)
        self.entries[number] = entry

    def __enter__(self) -> SweepJournal:
        """Return the journal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, for other processes too."""
        self._file.close()

    def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            self._lines.append(encode(entry))
        except OSError as error:
            raise write_error(self.path, error) from error

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResultError(
                f"another process works at {self.path.parent}", "Wait until it has ended"
            ) from error
        except OSError:
            # Some file systems have no locks.
            return

    def _read(self) -> tuple[dict[str, Any] | None, dict[int, dict[str, Any]], int]:
        first: dict[str, Any] | None = None
        entries: dict[int, dict[str, Any]] = {}
        end = 0
        self._file.seek(0)
        for number, line in enumerate(whole_lines(self._file), 1):
            try:
                entry = json.loads(line)
                if number == 1:
                    first = dict(entry["sweep"])
                else:
                    entries[int(entry["trial"])] = {**entry, "state": str(entry["state"])}
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise ResultError(
                    f"{self.path}, line {number}, is damaged: {error}",
                    "Restore the file, or choose another folder with --out",
                ) from error
            end += len(line)
        return first, entries, end
