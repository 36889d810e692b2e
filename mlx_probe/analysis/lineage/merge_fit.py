"""One tensor of a model as a weighted sum of the same tensor of other models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.lineage.storage_noise import rounded, rounding_noise, ulps
from mlx_probe.core.dtypes import FLOAT_FORMATS, FloatFormat

__all__ = ["Model", "Pooled", "TensorFit", "TensorSample", "fit_tensor", "pool"]

Floats = NDArray[np.float64]

# Standard deviation of a prior on every coefficient: what the data do not decide gets an error of
# about this size, and no division by zero.
_PRIOR = 1e3
# Least difference of two parents, in units of the last place, of an element that counts.
_STEPS = 8
_ROUNDS = 6
# Rounding errors of differences on a common grid are not independent: a factor on the standard
# errors, from generated merges of known weights.
_DEPENDENT = 2.0


@dataclass(frozen=True)
class TensorSample:
    """Elements of one tensor of all models, at the same positions.

    Attributes:
        name: The child's name of it.
        layer: Its block; None outside of all.
        component: "attention", "mlp" and so on.
        child: float32, shape (n,), finite.
        parents: For each parent the same.
        noise: Root mean square of the rounding errors of the child's elements.
        parent_noise: The same of each parent that is packed; 0 for others, whose elements are what
            the merge read.
        form: The narrowest number format that holds the child's elements; None if it is packed.
        complete: Whether these are all elements.
    """

    name: str
    layer: int | None
    component: str
    child: NDArray[np.float32]
    parents: tuple[NDArray[np.float32], ...]
    noise: float
    parent_noise: tuple[float, ...]
    form: str | None
    complete: bool


@dataclass(frozen=True)
class Model:
    """How weights follow from coefficients of a regression: weights = offset + matrix @ beta.

    The regression is on differences from a reference. Two fine-tunes of one base are nearly
    collinear, their differences are not.

    Attributes:
        reference: Number of the parent that all others are compared with.
        free_sum: Whether the sum of the weights is free; if not, it is 1.
        parents: Number of parents.
    """

    reference: int
    free_sum: bool
    parents: int

    @property
    def others(self) -> list[int]:
        """Numbers of the parents beside the reference."""
        return [i for i in range(self.parents) if i != self.reference]

    @property
    def matrix(self) -> Floats:
        """Shape (parents, coefficients)."""
        others = self.others
        a = np.zeros((self.parents, len(others) + self.free_sum))
        for column, parent in enumerate(others, start=int(self.free_sum)):
            a[parent, column], a[self.reference, column] = 1.0, -1.0
        if self.free_sum:
            a[self.reference, 0] = 1.0
        return a

    @property
    def offset(self) -> Floats:
        """Shape (parents,)."""
        return np.asarray(np.eye(self.parents)[self.reference])

    def design(self, parents: Sequence[Floats]) -> Floats:
        """The regressors, shape (n, coefficients)."""
        reference = parents[self.reference]
        columns = [parents[i] - reference for i in self.others]
        return np.stack([reference, *columns] if self.free_sum else columns, axis=1)


@dataclass(frozen=True)
class TensorFit:
    """The least-squares weights of one tensor.

    Attributes:
        sample: What was fitted.
        weights: Of each parent, shape (parents,).
        covariance: Of the weights, shape (parents, parents).
        residual: Root mean square of child - sum of weights * parents.
        ratio: Residual over what rounding makes, about 1 for a merge: of the elements that count,
            or of all if it is larger there.
        change: Root mean square of child - reference.
        spread: Root of sum over pairs i < j of w_i w_j mean((P_i - P_j)^2), 0 if that is negative.
        cosine: Of the angle between the first two parents.
        factor: R of the regressors, each in units of the error; see `pool`.
        target: Q^T (child - reference), in the same units.
    """

    sample: TensorSample
    weights: Floats
    covariance: Floats
    residual: float
    ratio: float
    change: float
    spread: float
    cosine: float
    factor: Floats
    target: Floats

    @property
    def errors(self) -> Floats:
        """Standard errors of the weights."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def fit_tensor(sample: TensorSample, model: Model) -> TensorFit | None:
    """Least squares in float64, by QR.

    Where parents differ by a few units of the last place only, rounding is no noise: 0.9 A + 0.1 B
    is rounded to A wherever B is a neighbour of A, and least squares would say 1 and 0. So only
    elements count in which the parents differ by `_STEPS` units at least, and the weights are
    those that give the child's elements after rounding.

    Args:
        sample: The elements.
        model: What is fitted.

    Returns:
        None if there are too few elements, or nothing but zeros.
    """
    child = sample.child.astype(np.float64)
    parents = [each.astype(np.float64) for each in sample.parents]
    if not (child.any() or any(each.any() for each in parents)):
        return None
    x, reference = model.design(parents), parents[model.reference]
    y = child - reference
    p = x.shape[1]
    if len(y) < 4 * p:
        return None
    form = FLOAT_FORMATS[sample.form] if sample.form is not None else None
    chosen = slice(None) if form is None else _apart(child, parents, form)
    q, factor = np.linalg.qr(x[chosen])
    target = _times(q.T, y[chosen])
    beta = _solve(factor, target)
    # Once more on what is left: the first solution's own rounding is then without effect.
    beta = beta + _solve(factor, _times(q.T, (y - _times(x, beta))[chosen]))
    if form is not None and len(q) < len(y):
        beta = _through_rounding(beta, x[chosen], q, factor, child[chosen], reference[chosen], form)
    residual = math.sqrt(float(np.square(y - _times(x, beta)).sum()) / (len(y) - p))
    weights = model.offset + model.matrix @ beta
    packed = sum((w * e) ** 2 for w, e in zip(weights, sample.parent_noise, strict=True))
    # Nothing is more exact than float64.
    least = max(float(np.abs(each).max()) for each in parents) * np.finfo(np.float64).eps
    noise = max(math.sqrt(sample.noise**2 + packed), least)
    # Of the chosen elements, which may be smaller than others.
    left = float(np.square((y - _times(x, beta))[chosen]).sum()) / max(len(q) - p, 1)
    own = rounding_noise(child[chosen], sample.form) if sample.form is not None else noise
    own = max(own, least)
    sigma = max(math.sqrt(left), own) * (_DEPENDENT if len(q) < len(y) else 1.0)
    return TensorFit(
        sample=sample,
        weights=weights,
        covariance=model.matrix @ _covariance(factor, sigma) @ model.matrix.T,
        residual=residual,
        ratio=max(residual / noise, math.sqrt(left) / own),
        change=math.sqrt(float(np.square(y).mean())),
        spread=_spread(parents, weights),
        cosine=_cosine(parents),
        factor=factor / sigma,
        target=factor @ beta / sigma,
    )


def _apart(child: Floats, parents: Sequence[Floats], form: FloatFormat) -> NDArray[np.intp]:
    """Positions at which parents are far apart, in units of the last place."""
    steps = _STEPS * ulps(child, form)
    far = np.zeros(len(child), bool)
    for parent in parents[1:]:
        far |= np.abs(parent - parents[0]) >= steps
    return np.flatnonzero(far)


def _through_rounding(
    beta: Floats,
    x: Floats,
    q: Floats,
    factor: Floats,
    child: Floats,
    reference: Floats,
    form: FloatFormat,
) -> Floats:
    """Coefficients that give the child's elements after rounding: Gauss-Newton steps."""
    best, least = beta, math.inf
    for _ in range(_ROUNDS):
        left = child - rounded(reference + _times(x, beta), form)
        size = _dot(left, left)
        if size < least:
            best, least = beta, size
        if not left.any():
            break
        beta = beta + _solve(factor, _times(q.T, left))
    return best


def _solve(factor: Floats, target: Floats) -> Floats:
    """Least squares with columns of norm 1; what nothing is known about becomes 0."""
    norms = np.linalg.norm(factor, axis=0)
    scale = np.where(norms > 0, norms, 1.0)
    p = factor.shape[1]
    # Where columns are equal, of all solutions the shortest.
    stacked = np.vstack([factor / scale, 1e-10 * np.eye(p)])
    solution = np.linalg.lstsq(stacked, np.append(target, np.zeros(p)), rcond=None)[0]
    return np.asarray(solution / scale)


def _covariance(factor: Floats, sigma: float) -> Floats:
    p = factor.shape[1]
    stacked = np.vstack([factor / sigma, np.eye(p) / _PRIOR])
    r = np.linalg.qr(stacked, mode="r")
    inverse = np.linalg.inv(r)
    return np.asarray(inverse @ inverse.T)


def _spread(parents: Sequence[Floats], weights: Floats) -> float:
    total = 0.0
    for i in range(len(parents)):
        for j in range(i):
            distance = float(np.square(parents[i] - parents[j]).mean())
            total += float(weights[i] * weights[j]) * distance
    return math.sqrt(max(total, 0.0))


def _cosine(parents: Sequence[Floats]) -> float:
    a, b = parents[0], parents[1] if len(parents) > 1 else parents[0]
    norms = math.sqrt(_dot(a, a) * _dot(b, b))
    return min(max(_dot(a, b) / norms, -1.0), 1.0) if norms else 0.0


# Not by BLAS: its threads would wait for each other longer than they compute.
def _dot(a: Floats, b: Floats) -> float:
    return float(np.einsum("i,i->", a, b))


def _times(matrix: Floats, vector: Floats) -> Floats:
    return np.asarray(np.einsum("ij,j->i", matrix, vector))


@dataclass(frozen=True)
class Pooled:
    """Weights that several tensors share.

    Attributes:
        weights: Shape (parents,).
        covariance: Shape (parents, parents).
    """

    weights: Floats
    covariance: Floats

    @property
    def errors(self) -> Floats:
        """Standard errors of the weights."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def sum_error(self) -> float:
        """Standard error of the sum of the weights."""
        return math.sqrt(max(float(self.covariance.sum()), 0.0))


def pool(fits: Iterable[TensorFit], model: Model) -> Pooled:
    """The least-squares weights of several tensors together, each in units of its error.

    Args:
        fits: At least one, fitted with ``model``.
        model: What was fitted.
    """
    known: Sequence[TensorFit] = list(fits)
    factor = np.vstack([fit.factor for fit in known])
    target = np.concatenate([fit.target for fit in known])
    beta = _solve(factor, target)
    covariance = model.matrix @ _covariance(factor, 1.0) @ model.matrix.T
    return Pooled(model.offset + model.matrix @ beta, covariance)
