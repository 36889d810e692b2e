"""CSV: the numbers by step, and a file of names and values for all the rest."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlx_probe.core.files import write_error, write_text
from mlx_probe.runs.exporters.metrics import Values

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.exported import ExportedRun

__all__ = ["open_log", "write"]

_CURVES, _ABOUT = "metrics.csv", "run.csv"


def write(run: ExportedRun, out: Path) -> Path:
    """Write a folder with metrics.csv and run.csv.

    metrics.csv has a row for each step and a column for each number; a number that a step has not
    is an empty cell, others that are not finite are ``inf``, ``-inf`` and ``nan``. run.csv has the
    columns section, name and value.

    Args:
        run: The run.
        out: The folder of all exports.

    Returns:
        The folder of this one.

    Raises:
        ResultError: The run has no numbers, or the disk refused.
    """
    run.require_numbers()
    folder = out / run.slug
    # Those of a run with steps are in run.csv: their columns would be empty but once.
    rows = list(run.steps) or list(run.rows())
    _write_about(run, folder)
    write_text(folder / _CURVES, _text(_names(rows), rows))
    return folder


class _Log:
    """metrics.csv, a line for each step; a new number makes a new column, so a new file."""

    def __init__(self, run: ExportedRun, out: Path) -> None:
        self._folder, self._rows = out / run.slug, list(run.steps)
        self._names = _names(self._rows)
        _write_about(run, self._folder)
        self._file = self._written()

    def log(self, values: Values) -> None:
        self._rows.append(values)
        if set(values) - set(self._names):
            self._names = _names(self._rows)
            self._file.close()
            self._file = self._written()
            return
        csv.DictWriter(self._file, self._names, lineterminator="\n").writerow(_cells(values))
        self._file.flush()

    def close(self, run: ExportedRun) -> None:
        self._file.close()
        _write_about(run, self._folder)

    def _written(self) -> IO[str]:
        path = self._folder / _CURVES
        write_text(path, _text(self._names, self._rows))
        try:
            return path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise write_error(path, error) from error


def open_log(run: ExportedRun, out: Path) -> _Log:
    """Go on with the file of a run; what is in it becomes what the run has so far.

    Args:
        run: The run with its steps so far.
        out: The folder of all exports.

    Raises:
        ResultError: The disk refused.
    """
    return _Log(run, out)


def _names(rows: list[Values]) -> list[str]:
    return list(dict.fromkeys(["step", *(name for row in rows for name in row)]))


def _cells(row: Values) -> dict[str, Any]:
    return {name: "" if value is None else value for name, value in row.items()}


def _text(names: list[str], rows: list[Values]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_cells, rows))
    return text.getvalue()


def _write_about(run: ExportedRun, folder: Path) -> None:
    sections = {"run": run.describe(), "setting": run.params, "final": run.finals}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["section", "name", "value"])
    for section, values in sections.items():
        writer.writerows(
            [section, name, "" if value is None else value] for name, value in values.items()
        )
    write_text(folder / _ABOUT, text.getvalue(), errors="replace")
