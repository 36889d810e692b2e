"""From a GGUF file to a folder in Hugging Face's layout: read top to bottom."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint import Checkpoint, open_checkpoint
from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError, damaged
from mlx_probe.core.files import write_error
from mlx_probe.core.paths import cache_dir
from mlx_probe.core.records import ModelFiles
from mlx_probe.lab.export.gguf.architectures import Place
from mlx_probe.lab.export.gguf.types import read_as
from mlx_probe.lab.import_gguf.shape import config_json, read_architecture, read_shape
from mlx_probe.lab.import_gguf.tokenizer import write_tokenizer
from mlx_probe.lab.tensor_stream import StoredTensor, write_shards
from mlx_probe.lab.whole_folder import whole_folder
from mlx_probe.runs.fingerprint import file_stamps
from mlx_probe.source.transfer.disk_space import require_space

__all__ = ["import_gguf"]

_log = logging.getLogger(__name__)

# Raised when the same file would be written differently.
_VERSION = 1
# Types that are kept; everything else is unpacked to float32, which holds its numbers exactly.
_KEPT = {"F16": "float16", "BF16": "bfloat16"}
_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4}


def import_gguf(files: ModelFiles) -> Path:
    """A model in Hugging Face's layout with the numbers of a GGUF file, kept in the cache.

    Packed weights are unpacked to float32. Rows of queries and keys that llama.cpp turned for its
    rotary embedding are turned back. A second call finds the folder of the first.

    Args:
        files: One GGUF model on disk, in one or several parts.

    Returns:
        The folder, named like the file.

    Raises:
        CheckpointError: The file is damaged, of an architecture or with a tokenizer that is not
            known, or has tensors that have no place in Hugging Face's layout.
        SourceError: The disk is too small.
        ResultError: The cache cannot be written.
    """
    first = files.weights[0]
    digest = hashlib.sha256(f"{_VERSION} {file_stamps(files.weights)}".encode()).hexdigest()
    folder = cache_dir() / "imported" / digest[:16] / first.stem
    if (folder / "config.json").is_file():
        return folder
    with open_checkpoint(files) as checkpoint:
        architecture = read_architecture(first, checkpoint.metadata)
        weights = {weight.name: weight for weight in checkpoint.weights() if weight.part is None}
        shape = read_shape(first, architecture, checkpoint.metadata, weights)
        places = tuple(architecture.places(shape))
        _check_places(first, places, weights)
        dtype = _dtype(checkpoint)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            size = sum(prod(place.shape) for place in places) * _SIZES[dtype]
            require_space(folder.parent, size, f"{first.name}, unpacked,", "MLX_PROBE_CACHE")
            with whole_folder(folder) as new:
                ends = write_tokenizer(new, first, checkpoint.metadata, shape.vocabulary)
                _write_json(new / "config.json", config_json(shape, dtype, ends))
                _write_json(new / "generation_config.json", ends)
                write_shards(new, [_stored(each, weights[each.name], dtype) for each in places])
        except OSError as error:
            raise write_error(folder, error) from error
    _log.info("%s: unpacked into %s", first, folder)
    return folder


def _check_places(path: Path, places: Sequence[Place], weights: Mapping[str, Weight]) -> None:
    for place in places:
        if place.name not in weights:
            raise damaged(path, f"tensor {place.name} is missing")
        shape = weights[place.name].shape
        if shape != place.shape:
            raise damaged(path, f"tensor {place.name} has the shape {shape}, not {place.shape}")
    known = {place.name for place in places}
    if more := next((name for name in weights if name not in known), None):
        raise CheckpointError(
            f"{path}: tensor {more} has no place in Hugging Face's layout",
            "Give the model that the GGUF was made from",
        )


def _dtype(checkpoint: Checkpoint) -> str:
    """The type of all weights: that of the matrices if they all have one of `_KEPT`."""
    kinds = {w.dtype for w in checkpoint.weights() if w.rows is not None}
    return _KEPT.get(next(iter(kinds)), "float32") if len(kinds) == 1 else "float32"


def _stored(place: Place, weight: Weight, dtype: str) -> StoredTensor:
    """A tensor of Hugging Face's layout, read when its turn comes."""
    kept = next((name for name, known in _KEPT.items() if known == dtype), "F32")

    def data() -> list[memoryview]:
        words = read_as(weight, kept)
        if place.turned_heads:
            words = _separate(words, place.turned_heads)
        whole: Any = np.ascontiguousarray(words)
        return [memoryview(whole).cast("B")]

    size = prod(place.shape) * DTYPES[kept].itemsize
    return StoredTensor(place.sources[0], kept, place.shape, size, data)


def _separate(matrix: NDArray[Any], heads: int) -> NDArray[Any]:
    """The order of Hugging Face's rows again: the inverse of `interleave` of the export."""
    rows, columns = matrix.shape
    pairs = matrix.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
