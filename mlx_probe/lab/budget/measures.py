"""What was measured, kept in a file: an interrupted budget goes on, another goal begins with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mlx_probe.core.records import Column, Row
from mlx_probe.lab.budget.records import Curve, Matrix, Way
from mlx_probe.runs.fingerprint import file_stamps, fingerprint_of
from mlx_probe.runs.journal import Journal

__all__ = ["MEASURES", "Measures"]

# Its name in a run folder.
MEASURES = "measures.jsonl"
# Whatever changes a measured number changes it.
_VERSION = 1
_COLUMNS = (
    Column("name", "string", "identity", "The weight."),
    Column("energy", "float64", "cost", "Sum of squares."),
    Column("keep", "float64", "cost", "Squared error of keeping it."),
    Column("rounding", "string", "cost", "Squared error of each quantization, as JSON."),
    Column("problem", "string", "cost", "Why there are none."),
)


class Measures:
    """A file of curves, of one model in one type.

    Args:
        path: The file; another model's is put aside under the name ``*.old``.
        folder: The model's files.
        dtype: Value of --dtype.
        resume: Whether to use what is there.
    """

    def __init__(self, path: Path, folder: Path, dtype: str, resume: bool = True) -> None:
        self._journal = Journal(path, identity(folder, dtype), _COLUMNS, resume)
        self._tails = dict(self._journal.spectra()) if self._journal.rows else {}

    def __enter__(self) -> Measures:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._journal.close()

    def get(self, index: int, matrix: Matrix) -> Curve | None:
        """The curve of a matrix.

        Args:
            index: Its number.
            matrix: The matrix.

        Returns:
            None if it was not measured, or without something that is needed now.
        """
        if index not in self._journal.rows:
            return None
        values = self._journal.rows[index].values
        if values["name"] != matrix.name:
            return None
        if values["problem"]:
            return Curve(problem=values["problem"])
        known = {_way(text): error for text, error in json.loads(values["rounding"]).items()}
        tails = self._tails.get(index)
        if not known.keys() >= set(matrix.ways) or (matrix.cut and tails is None):
            return None
        return Curve(values["energy"], values["keep"], known, tails)

    def put(self, index: int, matrix: Matrix, curve: Curve) -> None:
        """Put a curve on disk.

        Raises:
            ResultError: The disk refused.
        """
        values: Mapping[str, Any] = {
            "name": matrix.name,
            "energy": curve.energy,
            "keep": curve.keep,
            "rounding": json.dumps({_text(way): error for way, error in curve.rounding.items()}),
            "problem": curve.problem,
        }
        tails = None if curve.tails is None else np.asarray(curve.tails)
        self._journal.append(Row(index, values, tails))


def identity(folder: Path, dtype: str) -> str:
    """Of a model's files and what is measured of them, as hex digits."""
    stamps = file_stamps(sorted(folder.glob("model*.safetensors")))
    return fingerprint_of({"version": _VERSION, "files": stamps, "dtype": dtype})


def _text(way: Way) -> str:
    return f"{way.mode} {way.bits} {way.group}"


def _way(text: str) -> Way:
    mode, bits, group = text.split()
    return Way(mode, int(bits), int(group))
