"""Hidden units of a copied block that begin anew: Drop-Upcycling.

Nakamura and others 2025, "Drop-Upcycling: training sparse mixture of experts with partial
re-initialization" (arXiv:2502.19261): copies that are all alike learn to differ slowly; a share
of the hidden units of each expert is drawn anew, by a normal distribution with mean and deviation
of what these units had in that matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.dtypes import decode
from mlx_probe.lab.elements import converted
from mlx_probe.lab.moe.graft.config import GraftConfig

__all__ = ["renewed", "renewed_units"]

# Draws of one seed that must not be the same numbers: see `tensors`, too.
_OF_UNITS, _OF_VALUES = 2, 3


def renewed_units(config: GraftConfig, hidden: int, layer: int, expert: int) -> NDArray[np.int64]:
    """The units of an expert that begin anew, ascending; the same for its three matrices."""
    random = np.random.Generator(np.random.PCG64((config.seed, _OF_UNITS, layer, expert)))
    return np.sort(random.permutation(hidden)[: round(config.share * hidden)])


def renewed(
    words: NDArray[Any],
    kind: str,
    units: NDArray[np.int64],
    axis: int,
    draw: tuple[int, ...],
    name: str,
) -> NDArray[Any]:
    """A matrix with some units drawn anew.

    Args:
        words: Its stored elements; they stay as they are.
        kind: Their type.
        units: Which units.
        axis: Where they are: 0 for rows, 1 for columns.
        draw: Seed of the draws.
        name: Of the tensor, for messages.

    Returns:
        New memory.
    """
    place = units if axis == 0 else (slice(None), units)
    old = decode(words[place], kind)
    mean, deviation = float(old.mean(dtype=np.float64)), float(old.std(dtype=np.float64))
    random = np.random.Generator(np.random.PCG64((draw[0], _OF_VALUES, *draw[1:])))
    made = words.copy()
    made[place] = converted(random.normal(mean, deviation, old.shape), kind, name)
    return made
