"""The choices of a matrix, each with its bytes and its error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.budget.measure import rounded_share
from mlx_probe.lab.budget.records import Choice, Curve, Matrix
from mlx_probe.lab.budget.tensors import factor_specs, packed_specs, tensors
from mlx_probe.lab.tensor_stream import TensorSpec

__all__ = ["Options", "bytes_of", "options_of", "rank_errors"]


@dataclass(frozen=True)
class Options:
    """The choices of one matrix.

    Attributes:
        choices: Keep first, then quantizations; ranks are the rest, from 1.
        nbytes: Bytes of tensors and of their entries in the header, for each.
        errors: Squared errors.
    """

    choices: tuple[Choice, ...]
    nbytes: NDArray[np.float64]
    errors: NDArray[np.float64]

    @property
    def largest_rank(self) -> int:
        """The largest rank that saves bytes; 0 for none."""
        return len(self.nbytes) - len(self.choices)

    def choice(self, number: int) -> Choice:
        """A choice by its number."""
        listed = len(self.choices)
        return self.choices[number] if number < listed else Choice("rank", rank=number - listed + 1)


def options_of(matrix: Matrix, curve: Curve | None, digits: int) -> Options:
    """Every choice that saves bytes, and keeping the matrix.

    Args:
        matrix: The matrix.
        curve: What it costs; None if it was not measured: it is kept then.
        digits: Of the offsets in the header, which are not known before the choice.
    """
    kept = _cost(matrix.kept, digits)
    choices, nbytes, errors = [Choice()], [kept], [0.0]
    if curve is None or curve.problem:
        return Options(tuple(choices), np.array(nbytes, float), np.array(errors))
    errors[0] = curve.keep
    bias = _cost(matrix.bias, digits)
    for way in matrix.ways:
        cost = bias + _cost(packed_specs(matrix, way), digits)
        if cost < kept:
            choices.append(Choice("bits", way=way))
            nbytes.append(cost)
            errors.append(curve.rounding[way])
    costs, squares = np.array(nbytes, float), np.array(errors)
    if matrix.cut and curve.tails is not None:
        ranks = np.arange(1, len(curve.tails))
        one, two = (_cost(factor_specs(matrix, rank), digits) for rank in (1, 2))
        # The digits of the rank stand in two shapes.
        longer = 2 * np.floor(np.log10(ranks + 0.5))
        rank_costs = bias + one + (two - one) * (ranks - 1) + longer
        saving = rank_costs < kept
        costs = np.concatenate([costs, rank_costs[saving]])
        squares = np.concatenate([squares, rank_errors(matrix, curve)[ranks[saving]]])
    return Options(tuple(choices), costs, squares)


def rank_errors(matrix: Matrix, curve: Curve) -> NDArray[np.float64]:
    """Squared error of each rank from 0, with that of rounding the factors to their type."""
    assert curve.tails is not None
    kept = np.maximum(curve.energy - curve.tails, 0.0)
    errors: NDArray[np.float64] = curve.tails + rounded_share(matrix.dtype) * kept
    return errors


def _cost(specs: Sequence[TensorSpec], digits: int) -> int:
    """Bytes of tensors and of their entries in the header."""
    return sum(spec.nbytes + _entry(spec, digits) for spec in specs)


def _entry(spec: TensorSpec, digits: int) -> int:
    entry = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [0, 0]}
    # With the comma and the space between two entries; a name of other letters is escaped.
    return len(json.dumps({spec.name: entry})) - 2 + 2 + 2 * (digits - 1)


def bytes_of(matrix: Matrix, choice: Choice) -> int:
    """Bytes of the tensors of a choice."""
    return sum(spec.nbytes for spec in tensors(matrix, choice))
