"""Whether the order of a model's layers fits how their sizes drift with depth: a weak sign.

Norms and leading singular values of a trained stack change little from one layer to the next. A
layer that was moved makes two jumps, and fits better elsewhere. Nothing but another model proves
it: what is found here is called possible.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.core.median import median

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.blocks import Place
    from mlx_probe.analysis.similar_layers.group import Group
    from mlx_probe.analysis.similar_layers.reading import Matrix

__all__ = ["Depth", "depth_of"]

# Fewer layers say nothing of a drift. The first and the last ones are unlike in most models.
_FEWEST, _ENDS = 12, 2
# Random orders that the path is compared with.
_ORDERS = 500
# A stack drifts if its path is shorter than so much of that of the random orders' shortest.
_SMOOTH = 0.8
# Robust deviations of the other layers' gains beyond which a layer is named, and how many times
# the way at its place must be the way where it fits.
_FAR, _TIMES = 8.0, 3.0


@dataclass(frozen=True)
class Depth:
    """How smoothly a stack's layers follow each other.

    Attributes:
        places: The layers, in order.
        path: Length of the way through their sizes, over the mean of random orders.
        shortest: The shortest of the random orders, over the same mean.
        moved: Layers that may be elsewhere: (layer, layer that it fits behind, deviations).
    """

    places: tuple[Place, ...]
    path: float
    shortest: float
    moved: tuple[tuple[Place, Place, float], ...]


def depth_of(groups: Sequence[Group], seed: int) -> Depth | None:
    """The drift of the longest stack of blocks that have the same parts; None for a short one.

    Args:
        groups: Parts of equal signatures.
        seed: Of the random orders.
    """
    columns, places = _sizes(groups)
    if len(places) < _FEWEST:
        return None
    steps = np.linalg.norm(columns[:, None] - columns[None], axis=2)
    path = _path(steps, np.arange(len(places)))
    random = np.random.default_rng(seed)
    others = np.array([_path(steps, random.permutation(len(places))) for _ in range(_ORDERS)])
    mean = float(others.mean())
    if mean == 0:
        return None
    shortest = float(others.min()) / mean
    drifts = path / mean < _SMOOTH * shortest
    moved = _moved(steps, places) if drifts else ()
    return Depth(tuple(places), path / mean, shortest, moved)


def _sizes(groups: Sequence[Group]) -> tuple[Matrix, list[Place]]:
    """Logarithms of norms and leading singular values, (layers, columns), each with spread 1."""
    if not groups:
        return np.empty((0, 0)), []
    most = max(group.own for group in groups)
    full = [group for group in groups if group.own == most]
    places = [each.part.place for each in full[0].prints[: full[0].own]]
    columns = []
    for group in full:
        own = group.prints[: group.own]
        if [each.part.place for each in own] != places:
            continue
        for role in group.roles:
            columns.append([each.norms[role] for each in own])
            if all(role in each.directions for each in own):
                columns.append([float(each.directions[role].sigma[0]) for each in own])
    values = np.array(columns).T
    values = values[:, (values > 0).all(axis=0)]
    logs = np.log(values)
    spread = 1.4826 * median(np.abs(logs - median(logs)))
    return logs[:, spread > 0] / spread[spread > 0], places


def _path(steps: Matrix, order: np.ndarray) -> float:
    return float(steps[order[:-1], order[1:]].sum())


def _moved(steps: Matrix, places: Sequence[Place]) -> tuple[tuple[Place, Place, float], ...]:
    """Layers whose way is far shorter at another place than where they are."""
    count = len(places)
    gains, homes, here_of, there_of = [], [], [], []
    for at in range(1, count - 1):
        here = steps[at - 1, at] + steps[at, at + 1] - steps[at - 1, at + 1]
        rest = [k for k in range(count) if k != at]
        there = [
            steps[a, at] + steps[at, b] - steps[a, b] if abs(a - at) > 1 else np.inf
            for a, b in itertools.pairwise(rest)
        ]
        best = int(np.argmin(there))
        gains.append(here - there[best])
        homes.append(rest[best])
        here_of.append(here)
        there_of.append(max(there[best], 0.0))
    values = np.array(gains)
    center = float(median(values))
    spread = 1.4826 * float(median(np.abs(values - center))) or 1.0
    found = []
    for at, gain in enumerate(gains, 1):
        far = (gain - center) / spread
        inside = _ENDS <= at < count - _ENDS
        clear = gain > 0 and here_of[at - 1] > _TIMES * there_of[at - 1]
        if inside and clear and far > _FAR:
            found.append((places[at], places[homes[at - 1]], float(far)))
    return tuple(found)
