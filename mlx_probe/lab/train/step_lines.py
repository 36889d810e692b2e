"""A file of one JSON object for each step, written while a run goes on and cut when it resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mlx_probe.core.files import LineWriter, whole_lines, write_error
from mlx_probe.runs.table.strict_json import encode

__all__ = ["StepLines"]


class StepLines:
    """Appends lines; each is whole, and read by others, when `append` returns.

    Args:
        path: The file.
        step: Lines after this step are cut off: a run that resumes makes them again. Before
            step 0 there are none.

    Raises:
        ResultError: The disk refused.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        try:
            self._file = path.open("ab", buffering=0)
            try:
                self._lines = LineWriter(self._file, _end_of(path, step))
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise write_error(path, error) from error

    def __enter__(self) -> StepLines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.close()

    def append(self, values: Mapping[str, Any]) -> None:
        """Write the line of a step.

        Raises:
            ResultError: The disk refused; the lines before are whole.
        """
        try:
            self._lines.append(encode(values))
        except OSError as error:
            raise write_error(self.path, error) from error

    def flush(self) -> None:
        """Have the lines on the disk, before a checkpoint that relies on them.

        Raises:
            ResultError: The disk refused.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error


def _end_of(path: Path, step: int) -> int:
    """Bytes of the lines up to a step; a damaged line and all after it do not count."""
    end = 0
    with path.open("rb") as file:
        for line in whole_lines(file):
            try:
                if not json.loads(line)["step"] <= step:
                    break
            except (ValueError, TypeError, KeyError):
                break
            end += len(line)
    return end
