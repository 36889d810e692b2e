"""Which hidden units of a feed-forward block go together into an expert.

A new split is one function and one line in `SPLITS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.moe.graft.balanced_clusters import balanced_clusters

__all__ = ["SPLITS", "Block", "Units"]

# The units of each expert, ascending: (experts, width).
Units = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """What a split may look at.

    Attributes:
        hidden: Hidden units.
        experts: Experts; divides ``hidden``.
        seed: Of this layer.
        gate: Rows of the gate projection, (hidden, dim).
        activations: What each unit gives for each token of a text, (hidden, tokens), without its
            sign.
    """

    hidden: int
    experts: int
    seed: tuple[int, ...]
    gate: Callable[[], NDArray[np.float32]]
    activations: Callable[[], NDArray[np.float32]]

    @property
    def random(self) -> np.random.Generator:
        """A generator that begins anew."""
        return np.random.Generator(np.random.PCG64(self.seed))


def _contiguous(block: Block) -> Units:
    """Units as they follow each other."""
    return np.arange(block.hidden).reshape(block.experts, -1)


def _random(block: Block) -> Units:
    """Units by chance."""
    return np.sort(block.random.permutation(block.hidden).reshape(block.experts, -1), axis=1)


def _cluster(block: Block) -> Units:
    """Units whose gates open in the same directions of the stream.

    Zhang and others 2022, "MoEfication: transformer feed-forward layers are mixtures of experts"
    (arXiv:2110.01786) cluster rows of the first projection likewise.
    """
    return _groups(block, block.gate())


def _activation(block: Block) -> Units:
    """Units that are strong for the same tokens."""
    return _groups(block, block.activations())


def _groups(block: Block, features: NDArray[np.float32]) -> Units:
    labels = balanced_clusters(features, block.experts, block.random)
    # Stable: units of an expert ascend. Experts are in the order of their first units.
    units = np.argsort(labels, kind="stable").reshape(block.experts, -1)
    return units[np.argsort(units[:, 0])]


SPLITS: Mapping[str, Callable[[Block], Units]] = {
    "contiguous": _contiguous,
    "random": _random,
    "cluster": _cluster,
    "activation": _activation,
}
