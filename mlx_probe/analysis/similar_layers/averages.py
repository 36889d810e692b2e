"""Parts that are a mixture of two others, w A + v B, by least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.mixture.combinations import best_combinations
from mlx_probe.analysis.similar_layers.reading import gram_of

if TYPE_CHECKING:
    from mlx_probe.analysis.similar_layers.group import Group
    from mlx_probe.analysis.similar_layers.reading import Matrix

__all__ = ["LEFT", "REST", "Average", "averages_in"]

# What a mixture may leave of the part, and over what the nearer one of the two alone leaves.
# Rounding to 4 bits leaves 0.1 of a part. Three blocks that were copied from one and then trained
# leave 0.87 of what one of them leaves, and are no mixtures of each other.
REST, LEFT = 0.3, 0.5


@dataclass(frozen=True)
class Average:
    """A part as a mixture of two.

    Attributes:
        part: Index in the group.
        first: Index of A.
        second: Index of B.
        weights: (w, v).
        rest: ||C - w A - v B|| / ||C||, the largest of a role.
        left: What the mixture leaves over what the nearer one alone leaves.
        chance: What the same two leave of a sample of the part whose rows are shifted.
    """

    part: int
    first: int
    second: int
    weights: tuple[float, float]
    rest: float
    left: float
    chance: float

    @property
    def share(self) -> float:
        """Of A: w / (w + v)."""
        return self.weights[0] / sum(self.weights)


def averages_in(group: Group, copied: Sequence[int]) -> list[Average]:
    """Parts of the model that is asked about that are mixtures of two others.

    Args:
        group: Parts of one signature.
        copied: Indices that are copies: neither mixtures nor what one is made of.

    Raises:
        CheckpointError: A file changed or vanished.
        PackingError: Pieces of a packed weight contradict each other.
    """
    gram = _sampled_gram(group)
    models = np.array([each.part.place.model for each in group.prints])
    inside = np.array([at not in set(copied) for at in range(len(models))])
    found: dict[int, Average] = {}
    candidates: list[tuple[int, int, int]] = []
    own = best_combinations(gram, inside & (models == 0))
    for part, pair in own.items():
        if pair.residual <= REST and pair.left <= LEFT:
            candidates.append((part, pair.first, pair.second))
    parents = np.flatnonzero(models > 0)
    for part in range(group.own) if len(parents) > 1 else ():
        places = np.array([*parents, part])
        both = best_combinations(gram[np.ix_(places, places)], np.ones(len(places), bool))
        near = both.get(len(parents))
        if near is not None and near.residual <= REST and near.left <= LEFT:
            candidates.append((part, int(parents[near.first]), int(parents[near.second])))
    for part, first, second in candidates:
        exact = _exact(group, part, first, second)
        if exact is not None and (part not in found or exact.rest < found[part].rest):
            found[part] = exact
    return [found[part] for part in sorted(found)]


def _sampled_gram(group: Group) -> Matrix:
    """Of the samples, each role with the same weight."""
    total = np.zeros((len(group.prints),) * 2)
    for role in group.roles:
        flat = np.stack([each.samples[role].ravel() for each in group.prints]).astype(np.float64)
        gram = flat @ flat.T
        size = float(np.mean(np.diagonal(gram)))
        total += gram / size if size > 0 else 0.0
    return total


def _exact(group: Group, part: int, first: int, second: int) -> Average | None:
    grams: dict[str, Matrix] = {}
    members = [group.prints[at].part.pieces for at in (part, first, second)]
    for pieces in zip(*members, strict=True):
        gram = np.zeros((3, 3))
        for weights in zip(*(piece.weights for piece in pieces), strict=True):
            gram += gram_of(weights)[0]
        if gram[0, 0] > 0:
            grams[pieces[0].role] = gram
    chance = _by_chance(group, part, first, second)
    return fitted(grams, part, first, second, chance)


def fitted(
    grams: Mapping[str, Matrix], part: int, first: int, second: int, chance: float
) -> Average | None:
    """A mixture by Gram matrices of C, A and B for each role; None where it is none.

    Each role counts alike: it is divided by the size of C's matrix.
    """
    weights, rest, left = _fit(grams)
    if min(weights) <= 0 or rest > REST or left > LEFT:
        return None
    return Average(part, first, second, (weights[0], weights[1]), rest, left, chance)


def _fit(grams: Mapping[str, Matrix]) -> tuple[list[float], float, float]:
    """Weights by least squares, the largest rest of a role, and what is left over one alone."""
    total = np.sum([gram / gram[0, 0] for gram in grams.values()], axis=0)
    weights, *_ = np.linalg.lstsq(total[1:, 1:], total[1:, 0], rcond=None)
    factors = np.array([1.0, *(-weights)])
    rest = max(_length(factors @ gram @ factors / gram[0, 0]) for gram in grams.values())
    alone = min(_length(total[0, 0] - total[0, at] ** 2 / total[at, at]) for at in (1, 2))
    left = _length(factors @ total @ factors) / alone if alone > 0 else 1.0
    return list(map(float, weights)), rest, left


def _by_chance(group: Group, part: int, first: int, second: int) -> float:
    """What two parts leave of another one whose rows are not where they belong."""
    grams = {}
    for role in group.roles:
        samples = [group.prints[at].samples[role] for at in (part, first, second)]
        samples[0] = np.roll(samples[0], max(1, samples[0].shape[1] // 2), axis=1)
        flat = np.stack([each.ravel() for each in samples]).astype(np.float64)
        grams[role] = flat @ flat.T
    return _fit({role: gram for role, gram in grams.items() if gram[0, 0] > 0})[1]


def _length(square: float) -> float:
    return float(np.sqrt(max(0.0, square)))
