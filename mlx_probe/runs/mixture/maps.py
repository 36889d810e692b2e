"""The maps of a mixture's statistics: arrays with a plane for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import replacing

__all__ = ["read_maps", "stacked", "write_maps"]

Map = NDArray[np.float32]


def stacked(planes: Sequence[Mapping[str, Map]]) -> dict[str, Map]:
    """The arrays of all layers, one behind the other.

    Args:
        planes: Of each layer, by name.

    Returns:
        By name, shape (layers, ...): NaN where a layer lacks it, or has fewer experts.
    """
    found: dict[str, Map] = {}
    for name in sorted({name for plane in planes for name in plane}):
        shapes = [plane[name].shape for plane in planes if name in plane]
        largest = tuple(max(extents) for extents in zip(*shapes, strict=True))
        whole = np.full((len(planes), *largest), np.nan, np.float32)
        for layer, plane in enumerate(planes):
            if name in plane:
                part = plane[name]
                whole[layer][tuple(slice(extent) for extent in part.shape)] = part
        found[name] = whole
    return found


def write_maps(path: Path, maps: Mapping[str, Map]) -> None:
    """Write maps by atomic replacement.

    Raises:
        ResultError: The disk refused.
    """
    from safetensors.numpy import save_file

    with replacing(path) as written:
        save_file({name: np.ascontiguousarray(each) for name, each in maps.items()}, written)


def read_maps(path: Path) -> dict[str, Map]:
    """The maps of a finished run.

    Raises:
        ResultError: They are gone or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ResultError(
            f"{path} cannot be read: {error}", "Run `mlx-probe moe stats` again"
        ) from error
