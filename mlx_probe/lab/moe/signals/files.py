"""The files of a run of signals."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.files import replacing, write_error
from mlx_probe.lab.tensors_file import write_tensors
from mlx_probe.runs.mixture.signals import SPS
from mlx_probe.runs.outputs import hashed
from mlx_probe.runs.table import WRITERS

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.runs.folder import RunPaths

__all__ = ["write_files"]


def write_files(
    paths: RunPaths, tables: Mapping[str, pa.Table], maps: Mapping[str, NDArray[np.float32]]
) -> dict[str, dict[str, Any]]:
    """Write tables and the map of blocks, and remove what the run replaces.

    Args:
        paths: Of the run.
        tables: By their names.
        maps: The tensors of `SPS`.

    Returns:
        The metadata's key "outputs".

    Raises:
        ResultError: The disk refused.
    """
    files = {paths.side(name, "parquet"): table for name, table in tables.items()}
    map_path = paths.folder / SPS
    with ExitStack() as stack:
        for file, table in files.items():
            WRITERS["parquet"].write(table, stack.enter_context(replacing(file)))
        temporary = stack.enter_context(replacing(map_path))
        write_tensors(temporary, {name: mx.array(array) for name, array in maps.items()})
    written = [*files, map_path]
    # The metadata of an older run would list these files as its own.
    for old in (*paths.replaced, paths.meta):
        if old not in written:
            try:
                old.unlink(missing_ok=True)
            except OSError as error:
                raise write_error(old, error) from error
    return hashed(paths.folder, written)
