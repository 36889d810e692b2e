"""Over which tensors the weights of a merge agree."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.lineage.merge_fit import Model, TensorFit, pool
from mlx_probe.analysis.lineage.merge_records import Uniformity
from mlx_probe.analysis.lineage.slerp import slerp_length, slerp_parameter, slerp_weights

__all__ = ["Arc", "Shares", "arcs_of", "by_arc", "by_sum", "grouped", "uniformity"]

Floats = NDArray[np.float64]

# Weights agree if they differ by less than this, or by less than so many standard errors.
TOLERANCE, ERRORS = 0.01, 4.0
# Share of the tensors whose weights have to agree.
_AGREEING = 0.98


@dataclass(frozen=True)
class Shares:
    """Weights of the parents, with their standard errors; both of shape (parents,)."""

    weights: Floats
    errors: Floats


@dataclass(frozen=True)
class Arc:
    """A tensor seen as a point between two parents.

    Attributes:
        t: Parameter of spherical interpolation.
        t_error: Its standard error.
        total: a + b: 1 for a linear merge.
        total_error: Its standard error.
        length: q of `slerp`: 1 for a spherical interpolation.
        length_error: Its standard error, with that of the angle.
        apart: How far a + b of a spherical interpolation with this t is from 1.
    """

    t: float
    t_error: float
    total: float
    total_error: float
    length: float
    length_error: float
    apart: float


def arcs_of(fits: Sequence[TensorFit]) -> list[Arc]:
    """Each tensor of two parents as a point between them."""
    return [_arc(fit) for fit in fits]


def _arc(fit: TensorFit) -> Arc:
    a, b = map(float, fit.weights)
    cosine, n = fit.cosine, fit.sample.child.size
    # Of a sample of the elements; three times that of Gaussian ones, since weights' tails are
    # heavier.
    angle_error = 0.0 if fit.sample.complete else 3 * (1 - cosine**2) / math.sqrt(n)
    t, t_error = _through(slerp_parameter, a, b, cosine, fit.covariance, angle_error)
    length, length_error = _through(slerp_length, a, b, cosine, fit.covariance, angle_error)
    total_error = math.sqrt(max(float(fit.covariance.sum()), 0.0))
    apart = abs(sum(slerp_weights(t, cosine)) - 1)
    return Arc(t, t_error, a + b, total_error, length, length_error, apart)


def _through(
    function: Callable[[float, float, float], float],
    a: float,
    b: float,
    cosine: float,
    covariance: Floats,
    angle_error: float,
) -> tuple[float, float]:
    """A function of both coefficients and the angle, and its standard error."""
    value, step = function(a, b, cosine), 1e-6
    slopes = np.array(
        [
            (function(a + step, b, cosine) - function(a - step, b, cosine)) / (2 * step),
            (function(a, b + step, cosine) - function(a, b - step, cosine)) / (2 * step),
        ]
    )
    variance = float(slopes @ covariance @ slopes)
    if angle_error and abs(cosine) < 1 - 2 * step:
        around = function(a, b, cosine + step) - function(a, b, cosine - step)
        variance += (around / (2 * step) * angle_error) ** 2
    return value, math.sqrt(max(variance, 0.0))


Pooling = Callable[[Sequence[TensorFit]], Shares]


def by_sum(model: Model) -> Pooling:
    """Weights of sums, which tensors share by least squares over all of them."""

    def together(fits: Sequence[TensorFit]) -> Shares:
        pooled = pool(fits, model)
        return Shares(pooled.weights, pooled.errors)

    return together


def by_arc(fits: Sequence[TensorFit]) -> Shares:
    """1 - t and t of spherical interpolations, weighted by the inverse of their variances."""
    arcs = arcs_of(fits)
    inverse = np.array([1 / max(arc.t_error, 1e-12) ** 2 for arc in arcs])
    t = float(np.array([arc.t for arc in arcs]) @ inverse / inverse.sum())
    error = 1 / math.sqrt(float(inverse.sum()))
    return Shares(np.array([1 - t, t]), np.array([error, error]))


_KEYS: Mapping[Uniformity, Callable[[TensorFit], tuple[object, ...]]] = {
    "all": lambda fit: (),
    "component": lambda fit: (fit.sample.component,),
    "layer": lambda fit: (fit.sample.layer,),
    "layer and component": lambda fit: (fit.sample.layer, fit.sample.component),
}


def grouped(
    fits: Sequence[TensorFit], level: Uniformity
) -> dict[tuple[object, ...], list[TensorFit]]:
    """Tensors by what they have in common, in the order of the first of each group."""
    groups: dict[tuple[object, ...], list[TensorFit]] = defaultdict(list)
    for fit in fits:
        groups[_KEYS[level](fit)].append(fit)
    return groups


def uniformity(fits: Sequence[TensorFit], pooling: Pooling) -> Uniformity:
    """The fewest groups of tensors within which the weights agree.

    Args:
        fits: Tensors that say something about the weights, at least one.
        pooling: How the weights of a group are computed.
    """
    for level in _KEYS:
        if _agree(fits, level, pooling):
            return level
    return "tensor"


def _agree(fits: Sequence[TensorFit], level: Uniformity, pooling: Pooling) -> bool:
    agreeing = 0
    for group in grouped(fits, level).values():
        shared = pooling(group).weights
        for fit in group:
            own = pooling([fit])
            limits = np.maximum(TOLERANCE, ERRORS * own.errors)
            agreeing += bool((np.abs(own.weights - shared) <= limits).all())
    return agreeing >= _AGREEING * len(fits)
