"""Clusters of equal size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.matching import stable_matching

__all__ = ["balanced_clusters"]

Numbers = NDArray[np.float32]
# Rounds of centers and memberships at most. Memberships of small blocks settle within ten.
_ROUNDS = 20


def balanced_clusters(points: Numbers, count: int, random: np.random.Generator) -> NDArray[Any]:
    """The cluster of each point, by k-means on the sphere with clusters of one size.

    Points become unit vectors, and a center is the mean direction of its members. In each round
    points propose to centers, the nearest first; a center keeps the nearest of those that
    proposed, as many as its size, and the others propose to their next one (deferred acceptance:
    Gale and Shapley 1962, "College admissions and the stability of marriage"). In the end no
    point and center would both rather have each other. The round with the largest sum of cosines
    counts.

    Args:
        points: (points, coordinates); a point of zeros has no direction, and goes where there is
            room.
        count: Clusters; divides the number of points.
        random: Chooses the points that are the first centers.

    Returns:
        (points,) integers from 0 to ``count`` - 1.
    """
    units = _directions(points)
    size = len(units) // count
    centers = units[np.sort(random.permutation(len(units))[:count])]
    best, labels = -np.inf, np.zeros(len(units), np.int64)
    for _ in range(_ROUNDS):
        cosines = units @ centers.T
        found = stable_matching(cosines, size)
        total = float(cosines[np.arange(len(units)), found].sum(dtype=np.float64))
        if total <= best:
            break
        best, labels = total, found
        sums = [units[found == cluster].sum(axis=0) for cluster in range(count)]
        centers = _directions(np.stack(sums))
    return labels


def _directions(points: Numbers) -> Numbers:
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(lengths > 0, lengths, 1), np.float32)
