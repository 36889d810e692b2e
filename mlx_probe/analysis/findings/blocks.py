"""Blocks of a network side by side: the same tensors of every layer, as one table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.view import RunView

__all__ = ["Stack", "stacks"]

_NUMBER = re.compile(r"\d+")


class Stack(NamedTuple):
    """The blocks of one network or tower.

    Attributes:
        layers: Numbers of the blocks, ascending.
        keys: What is left of the tensors' names without the number.
        rows: Row of each tensor, shape (layers, keys); -1 where a block lacks it.
    """

    layers: tuple[int, ...]
    keys: tuple[str, ...]
    rows: NDArray[np.intp]

    def of(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        """A column of the run as (layers, keys), NaN where a block lacks the tensor."""
        return np.where(self.rows >= 0, column[self.rows], np.nan)


def stacks(view: RunView) -> Iterator[Stack]:
    """The blocks of each network of at least two blocks.

    Args:
        view: The run. Parts of fused tensors are left out, copies of tensors are not.
    """
    parts, layers = view.texts("part"), view.layers
    networks: dict[str, dict[int, dict[str, int]]] = {}
    for row in map(int, np.flatnonzero(np.isfinite(layers))):
        if parts[row] is not None:
            continue
        layer = int(layers[row])
        # "model.layers.3.mlp" and "h3" alike; the first number that is the layer's.
        before, found, after = _divided(view.names[row], layer)
        if found:
            networks.setdefault(before, {}).setdefault(layer, {})[after] = row
    for blocks in networks.values():
        if len(blocks) < 2:
            continue
        numbers = tuple(sorted(blocks))
        keys = tuple(dict.fromkeys(key for number in numbers for key in blocks[number]))
        rows = [[blocks[number].get(key, -1) for key in keys] for number in numbers]
        yield Stack(numbers, keys, np.array(rows, np.intp))


def _divided(name: str, layer: int) -> tuple[str, bool, str]:
    """A name before and after the number of its layer."""
    # One pattern for all: each layer's own would take longer to compile than all else here.
    for found in _NUMBER.finditer(name):
        if int(found[0]) == layer:
            return name[: found.start()], True, name[found.end() :]
    return name, False, ""
