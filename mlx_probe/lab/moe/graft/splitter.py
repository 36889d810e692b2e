"""The hidden units of each layer's experts, as the layers come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.elements import read_elements
from mlx_probe.lab.moe.graft.config import GraftConfig, Sizes
from mlx_probe.lab.moe.graft.dense import Dense
from mlx_probe.lab.moe.graft.splits import SPLITS, Block, Units

__all__ = ["Splitter"]


class Splitter:
    """The units of each layer's experts, found once.

    Args:
        dense: The dense model.
        config: How it is split.
        sizes: Experts of each layer.
    """

    def __init__(self, dense: Dense, config: GraftConfig, sizes: Sizes) -> None:
        self._dense, self._config, self._sizes = dense, config, sizes
        self._units: dict[int, Units] = {}

    def units(self, layer: int) -> Units:
        """(experts, width) of a layer."""
        if layer not in self._units:
            self.split(layer, None)
        return self._units[layer]

    def split(self, layer: int, hidden: NDArray[np.float32] | None) -> None:
        """Split a layer.

        Args:
            layer: Which.
            hidden: Its units, (tokens, hidden); None where the split does not look at them.
        """

        def gate() -> NDArray[np.float32]:
            # Float32 holds every number of the narrower types.
            weight = self._dense.blocks[layer][0]
            return read_elements(weight, "F32").astype(np.float32, copy=False)

        def activations() -> NDArray[np.float32]:
            assert hidden is not None
            return np.ascontiguousarray(np.abs(hidden).T)

        seed = (self._config.seed, layer)
        block = Block(self._dense.hidden, self._sizes.experts, seed, gate, activations)
        self._units[layer] = SPLITS[self._config.split](block)
