"""What is known of the layers that are finished, until a mixture's statistics are written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import replacing
from mlx_probe.runs.table.strict_json import encode

__all__ = ["LayerFiles"]

_LAYER = "layer"


class LayerFiles:
    """A hidden folder with a file for each finished layer: its row, and its arrays.

    Args:
        run: The run folder.
        fingerprint: Of the run; files of another one are not looked at.
    """

    def __init__(self, run: Path, fingerprint: str) -> None:
        self._folder = run / f".layers.{fingerprint[:12]}"

    def keep(
        self, number: int, row: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Put a finished layer on disk.

        Raises:
            ResultError: The disk refused.
        """
        from safetensors.numpy import save

        path = self._folder / f"{number}.safetensors"
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ResultError(
                f"cannot write {self._folder}: {error.strerror}", "Choose another folder with --out"
            ) from error
        with replacing(path) as written:
            written.write_bytes(save(dict(arrays), {_LAYER: encode(row)}))

    def read(self, number: int) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]] | None:
        """The row and the arrays of a layer; None if they are not there, or not whole."""
        from safetensors import SafetensorError, safe_open

        path = self._folder / f"{number}.safetensors"
        try:
            with safe_open(path, "np") as file:
                row = json.loads((file.metadata() or {})[_LAYER])
                return row, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def discard(self) -> None:
        """Delete them all."""
        shutil.rmtree(self._folder, ignore_errors=True)
