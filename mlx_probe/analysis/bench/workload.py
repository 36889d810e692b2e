"""The matrices that `bench` times with: those of a model, or Gaussian ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.analysis.selection import select_weights
from mlx_probe.checkpoint import Checkpoint, Weight, find_aliases
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.errors import ConfigError

__all__ = ["SYNTHETIC_DTYPES", "Shape", "Workload", "matrix_of", "synthetic_model", "workload_of"]

Shape = tuple[int, int]

# How standard normal elements are stored; bfloat16 is the upper half of float32.
SYNTHETIC_DTYPES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.generic]]] = {
    "BF16": lambda x: (x.view(np.uint32) >> 16).astype("<u2"),
    "F16": lambda x: x.astype("<f2"),
    "F32": lambda x: x.astype("<f4"),
    "F64": lambda x: x.astype("<f8"),
}


@dataclass(frozen=True)
class Workload:
    """The same matrices for every contender.

    Attributes:
        checkpoint: The open model that holds them.
        include: Globs on tensor names that select them, as `AnalyzeConfig` has them.
        weights: The finite matrices among the selected weights, without copies of others.
    """

    checkpoint: Checkpoint
    include: tuple[str, ...]
    weights: tuple[Weight, ...]


def workload_of(checkpoint: Checkpoint, include: Sequence[str] = ()) -> Workload:
    """The finite matrices of a model; reads each once, so that no contender waits for the disk.

    Args:
        checkpoint: The opened model.
        include: Globs on tensor names; empty means all.

    Raises:
        ConfigError: It has none.
        CheckpointError: A file cannot be read.
    """
    selected = select_weights(checkpoint.weights(), include, ())
    copies = find_aliases(selected)
    weights = tuple(
        weight
        for i, weight in enumerate(selected)
        if i not in copies and weight.has_spectrum and _is_finite(weight)
    )
    if not weights:
        raise ConfigError(
            f"none of {len(selected)} selected tensors is a matrix of finite numbers",
            "Select others with --include",
        )
    return Workload(checkpoint, tuple(include), weights)


def _is_finite(weight: Weight) -> bool:
    dtype = weight.chunk_dtype
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return all(bool(np.isfinite(decode(slab, dtype)).all()) for slab in weight.chunks())


@contextmanager
def synthetic_model(shapes: Sequence[Shape], dtype: str) -> Iterator[Checkpoint]:
    """Gaussian matrices in a temporary safetensors file.

    Args:
        shapes: Rows and columns of each.
        dtype: Key of `SYNTHETIC_DTYPES`.
    """
    header, end = {}, 0
    for i, (rows, cols) in enumerate(shapes):
        begin, end = end, end + rows * cols * DTYPES[dtype].itemsize
        name = f"gaussian.{i}.{rows}x{cols}"
        header[name] = {"dtype": dtype, "shape": [rows, cols], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="mlx-probe-") as folder:
        path = Path(folder) / "gaussian.safetensors"
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for shape in shapes:
                x = rng.standard_normal(shape, np.float32)
                file.write(SYNTHETIC_DTYPES[dtype](x).tobytes())
        with open_checkpoint(path) as checkpoint:
            yield checkpoint


def matrix_of(weight: Weight, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """All elements of a matrix: shape (rows, cols), ``dtype``."""
    slabs = [decode(np.array(slab), weight.chunk_dtype) for slab in weight.chunks()]
    axis = 0 if weight.tall else 1
    matrix: NDArray[Any] = np.concatenate(slabs, axis=axis).astype(dtype, copy=False)
    return matrix
