"""Factors that are finished, on disk until the adapter is written.

An extraction that is interrupted goes on after the last matrix, and no more than a few matrices
are in memory.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.files import replacing, write_error

__all__ = ["Spool", "discard_others"]

_COLUMNS = "columns"
_FILES = {f"{name}.npy" for name in ("left", "right", _COLUMNS)}


class Spool:
    """Factors and their columns, by the pair's position.

    Args:
        folder: Where; of one extraction only. It is made when the first factors come.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole: set[int] = set()

    def has(self, index: int) -> bool:
        """Whether a pair's factors are there as a whole: after a power cut a file may be torn."""
        if index not in self._whole and self._path(index).is_file():
            try:
                with ZipFile(self._path(index)) as kept:
                    if {*kept.namelist()} >= _FILES and kept.testzip() is None:
                        self._whole.add(index)
            except (OSError, EOFError, BadZipFile):
                return False
        return index in self._whole

    def put(
        self,
        index: int,
        left: NDArray[np.float64],
        right: NDArray[np.float64],
        columns: Mapping[str, Any],
    ) -> None:
        """Keep the factors of a pair, whose values float32 holds exactly.

        Raises:
            ResultError: The disk refused.
        """
        said = np.frombuffer(json.dumps(columns).encode(), np.uint8)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            factors = {"left": left.astype(np.float32), "right": right.astype(np.float32)}
            np.savez(content, allow_pickle=False, **factors, **{_COLUMNS: said})
            with replacing(self._path(index)) as path:
                path.write_bytes(content.getbuffer())
        except OSError as error:
            raise write_error(self.folder, error) from error

    def columns(self, index: int) -> dict[str, Any]:
        """The columns of a pair whose factors are there."""
        with np.load(self._path(index), allow_pickle=False) as kept:
            columns: dict[str, Any] = json.loads(kept[_COLUMNS].tobytes())
        return columns

    def factor(self, index: int, name: str) -> NDArray[np.float32]:
        """A factor: "left", shape (rows, r), or "right", shape (r, cols)."""
        with np.load(self._path(index), allow_pickle=False) as kept:
            return np.asarray(kept[name])

    def discard(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06}.npz"


def discard_others(folder: Path, name: str, own: Spool) -> None:
    """Remove what extractions with other settings left in a run folder, which is this run's now.

    Args:
        folder: The run folder.
        name: Its spools are called ``.name.fingerprint``.
        own: Is kept.
    """
    for path in folder.glob(f".{name}.*"):
        if path != own.folder:
            shutil.rmtree(path, ignore_errors=True)
