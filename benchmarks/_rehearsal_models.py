"""A model in files, as it is published: which tensor is in which file, and in what order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from _checkpoints import Shape, nbytes

__all__ = ["Model", "Tensors", "shards_of"]

Tensors = dict[str, tuple[str, Shape]]

# Types in the order in which safetensors' own writer puts tensors.
ORDER = ("F32", "BF16", "F8_E4M3", "U8")


@dataclass(frozen=True)
class Model:
    """A model in files.

    Attributes:
        name: Of its repository.
        config: Of its config.json.
        stages: Tensors in the order of the network; each stage begins a new file.
        limit: A file ends before it has more than this.
        counts_elements: Whether the limit is on elements, not on bytes.
        most: Files of the last stage, of which the last takes what is left; 0 for any number.
        first: Number of the first file.
        digits: Of the number of files in the files' names.
    """

    name: str
    config: Mapping[str, Any]
    stages: Sequence[Tensors]
    limit: float
    counts_elements: bool = False
    most: int = 0
    first: int = 1
    digits: int = 5


def shards_of(model: Model) -> dict[str, Tensors]:
    """The tensors of each file, by its name, in the order in which they stand in it."""
    files: list[Tensors] = []
    for stage in model.stages:
        most = model.most if stage is model.stages[-1] else 0
        begun, filled = len(files), float("inf")
        for name, (dtype, shape) in stage.items():
            size = prod(shape) if model.counts_elements else nbytes(dtype, shape)
            is_last = 0 < most <= len(files) - begun
            if filled + size > model.limit and not is_last:
                files.append({})
                filled = 0
            files[-1][name] = dtype, shape
            filled += size
    last = len(files) - 1 + model.first
    return {
        f"model-{number:05}-of-{last:0{model.digits}}.safetensors": dict(
            sorted(tensors.items(), key=lambda item: (ORDER.index(item[1][0]), item[0]))
        )
        for number, tensors in enumerate(files, model.first)
    }
