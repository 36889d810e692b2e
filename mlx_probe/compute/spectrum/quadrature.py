"""Sums over all eigenvalues of an operator from a few random probes: stochastic quadrature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.spectrum.lanczos import Compression
from mlx_probe.core.errors import SpectrumError
from mlx_probe.core.records import Estimate

__all__ = ["Functional", "Ritz", "Rule", "estimate", "gauss_rule", "radau_rule", "ritz"]

Vector = NDArray[np.float64]
Function = Callable[[Vector], Vector]
Functional = Callable[["Rule"], tuple[float, Function]]

# Student's t for 95 % and 30 degrees of freedom: 32 probes less a mean and a slope.
STUDENT_95 = 2.0423

# Relative error of a sum of leading eigenvalues from float32 products: more than eight times the
# worst one seen on hard matrices with long sides up to 3,000, 0.3 eps.
TRACE_ROUNDING = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Ritz:
    """Eigenvalues of a compressed operator, descending.

    Attributes:
        values: Ritz values theta, shape (k,).
        residuals: ``|G y - theta y|`` of their vectors y, without the rounding of the products
            themselves, shape (k,).
        weights: Squared components of the probes along those vectors, shape (probes, k).
    """

    values: Vector
    residuals: Vector
    weights: Vector


def ritz(compression: Compression) -> Ritz:
    """Ritz values, with weights from the first and residuals from the last entries of vectors.

    Raises:
        SpectrumError: LAPACK did not converge.
    """
    values, vectors = _eigen(compression.matrix)
    residuals = np.linalg.norm(compression.remainder @ vectors[compression.last :], axis=0)
    return Ritz(values, residuals, vectors[: compression.probes] ** 2)


def _eigen(matrix: Vector) -> tuple[Vector, Vector]:
    try:
        values, vectors = np.linalg.eigh(matrix)
    except np.linalg.LinAlgError as error:
        raise SpectrumError("LAPACK syevd did not converge", "Use --spectrum exact") from error
    return values[::-1], vectors[:, ::-1]


@dataclass(frozen=True)
class Rule:
    """The spectral measure of an operator.

    Some eigenvalues are known one by one, as in Hutch++ (Meyer, Musco, Musco and Woodruff
    2021). The number and the sum of the others are known, and probes sample them. A function's
    sum over them is therefore estimated by regression on 1 and lambda (Cochran, Sampling
    Techniques, chapter 7): only the part that is not linear in lambda is random.

    Attributes:
        single: Eigenvalues known one by one, shape (K,).
        nodes: Nodes of the quadrature on the others, shape (n,).
        weights: Weights of the nodes, shape (probes, n): each probe's sum estimates the sum
            over the others. Shape (1, n) of ones where the nodes are the others themselves.
        count: Number of the others.
        trace: Their sum.
        unseen: 1 - probes / M: orthogonal probes vary less than independent ones.
        blur: How far rounding may have moved an eigenvalue.
        ceiling: Upper bound of the mean of the eigenvalues that rounding hides; their nodes are
            a sixteenth of it.
    """

    single: Vector
    nodes: Vector
    weights: Vector
    count: int
    trace: float
    unseen: float
    blur: float
    ceiling: float

    def total(self, function: Function) -> float:
        """Sum of a function over all eigenvalues."""
        mean, slope, centre = self._line(function(self.nodes))
        rest = self.count * mean + slope * (self.trace - self.count * centre)
        return float(function(self.single).sum()) + rest

    def sampling(self, function: Function) -> float:
        """Half the width of the 95 % interval of `total`, from the sampling by probes."""
        if len(self.weights) == 1:
            return 0.0
        values = function(self.nodes)
        mean, slope, centre = self._line(values)
        sums = self.weights @ (values - mean - slope * (self.nodes - centre))
        variance = float(np.var(sums)) / (len(sums) - 2)
        return STUDENT_95 * float(np.sqrt(variance * self.unseen))

    def rounding(self, function: Function) -> float:
        """How far `total` moves at most when every eigenvalue moves by the blur."""
        nodes = self._shares() @ self._change(function, self.nodes)
        return float(self._change(function, self.single).sum() + self.count * nodes)

    def _shares(self) -> Vector:
        sums = self.weights.sum(axis=0)
        return np.asarray(sums / sums.sum())

    def _line(self, values: Vector) -> tuple[float, float, float]:
        """Mean and slope of values over the nodes, and the mean node."""
        shares = self._shares()
        mean, centre = float(shares @ values), float(shares @ self.nodes)
        off = self.nodes - centre
        variance = float(shares @ off**2)
        # A spread that is only rounding has no slope.
        slope = float(shares @ (off * values)) / variance if variance > self.blur**2 else 0.0
        return mean, slope, centre

    def _change(self, function: Function, at: Vector) -> Vector:
        hidden = at <= self.blur
        below = np.where(hidden, 0.0, np.maximum(at - self.blur, 0.0))
        above = np.where(hidden, self.ceiling, at + self.blur)
        value = function(at)
        return np.maximum(np.abs(function(below) - value), np.abs(function(above) - value))


def gauss_rule(compression: Compression, pairs: Ritz, single: int, trace: float) -> Rule:
    """Block Gauss quadrature: the Ritz values are the nodes.

    Args:
        compression: Of the operator.
        pairs: Its Ritz values.
        single: How many of the leading ones are known one by one.
        trace: Sum of all eigenvalues.
    """
    return _rule(compression, pairs.values, pairs.weights, single, trace)


def radau_rule(compression: Compression, single: int, trace: float) -> Rule:
    """Block Gauss-Radau quadrature: nodes at zero instead of those of the last block.

    For functions such as the square root, whose even derivatives are negative and whose odd
    ones are positive, Gauss quadrature is too large and this one too small (Golub and Meurant,
    Matrices, Moments and Quadrature with Applications, 2010, section 6.3).

    Args:
        compression: Of the operator.
        single: As for `gauss_rule`.
        trace: As for `gauss_rule`.

    Raises:
        SpectrumError: LAPACK did not converge.
    """
    matrix, last = compression.matrix.copy(), compression.last
    # Twice as far below zero as rounding may have moved an eigenvalue.
    end = -2 * compression.rounding
    coupling = matrix[:last, last:]
    tail = coupling.T @ np.linalg.solve(matrix[:last, :last] - end * np.eye(last), coupling)
    matrix[last:, last:] = end * np.eye(len(tail)) + (tail + tail.T) / 2
    nodes, vectors = _eigen(matrix)
    return _rule(compression, nodes, vectors[: compression.probes] ** 2, single, trace)


def _rule(
    compression: Compression, nodes: Vector, weights: Vector, single: int, trace: float
) -> Rule:
    known, others = nodes[:single], nodes[single:].copy()
    weights = compression.size * weights[:, single:]
    if compression.is_complete:
        weights = np.ones((1, len(others)))
    count, rest = compression.size - single, max(trace - float(known.sum()), 0.0)
    hidden = others <= compression.rounding
    # However far rounding spreads the hidden ones, their sum is at most what is left of the
    # trace; and a sum of concave functions is largest where all are equal (Jensen).
    number = max(count * float(weights[:, hidden].sum() / weights.sum()), 1.0)
    left = rest + TRACE_ROUNDING * float(known.sum())
    ceiling = min(compression.rounding, left / number)
    others[hidden] = ceiling / 16
    unseen = 1 - compression.probes / compression.size
    return Rule(known, others, weights, count, rest, unseen, compression.rounding, ceiling)


def estimate(rules: Sequence[Rule], functional: Functional) -> Estimate:
    """A number that depends on all eigenvalues, from one rule or from two that bracket it.

    The half-width is the sum of the sampling error of the probes (95 %), half the distance
    between the rules, and how far the rounding of the products may have moved the number.

    Args:
        rules: The Gauss rule, and the Gauss-Radau rule unless the nodes are exact.
        functional: Gives the number for a rule, and its influence function: the derivative of
            the number by the weight of an eigenvalue. It turns errors of sums into errors of
            the number (the delta method).
    """
    (value, influence), *others = (functional(rule) for rule in rules)
    values = [value, *(other for other, _ in others)]
    errors = rules[0].sampling(influence) + rules[0].rounding(influence)
    return Estimate(sum(values) / len(values), (max(values) - min(values)) / 2 + errors)
