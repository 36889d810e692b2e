"""How a merge was made, by the weights of its tensors: sum, arc, or copies of single tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_probe.analysis.lineage.merge_agreement import ERRORS, TOLERANCE, Arc, arcs_of
from mlx_probe.analysis.lineage.merge_fit import TensorFit
from mlx_probe.analysis.lineage.merge_records import MergeMethod
from mlx_probe.core.dtypes import FLOAT_FORMATS

__all__ = ["Kind", "bias_floor", "kind_of_sum", "one_parent_each", "takes_part"]

# Median of |z| over tensors up to which a kind of merge holds; .67 is expected of normal errors.
_HOLDS = 3.0
# Both kinds have to differ by so many errors in a tensor for it to tell them apart.
_APART = 10.0
# Arithmetic of a merge, beside the rounding of what is stored: float32 sums.
_ARITHMETIC = 2.0**-20
_FLOAT32 = FLOAT_FORMATS["F32"].precision


@dataclass(frozen=True)
class Kind:
    """A kind of merge of two parents, and what speaks for it in a sentence."""

    method: MergeMethod
    why: str


def kind_of_sum(fits: Sequence[TensorFit]) -> Kind:
    """Whether weighted sums of two parents are linear merges or spherical ones.

    A linear merge has a + b = 1 and a spherical one q = 1 (see `slerp`), in every tensor. First
    within the errors of the fits; then with weights that were themselves rounded to the stored
    type before they were used, as merges in bfloat16 do.

    Args:
        fits: Tensors that are explained up to rounding.
    """
    arcs = arcs_of(fits)
    for rounded in (False, True):
        telling = [
            (arc, floor)
            for arc, fit in zip(arcs, fits, strict=True)
            if arc.apart > _APART * _error(arc, floor := _floor(fit, rounded))
        ]
        if not telling:
            apart = max(arc.apart for arc in arcs)
            return Kind(
                "linear or slerp",
                f"linear and spherical interpolation differ by {apart:.2g} at most for these "
                "parents, and cannot be told apart",
            )
        totals = np.array([arc.total for arc, _ in telling])
        bends = [abs(arc.length - 1) / np.hypot(arc.length_error, floor) for arc, floor in telling]
        lines = [abs(arc.total - 1) / np.hypot(arc.total_error, floor) for arc, floor in telling]
        if np.median(lines) <= _HOLDS:
            return Kind("linear", f"the weights sum to 1: {_span(totals)}")
        if np.median(bends) <= _HOLDS:
            return Kind("slerp", f"the weights lie on the arc, and sum to {_span(totals)}")
    return Kind("linear", f"the weights sum to {_span(totals)}, not to 1")


def _error(arc: Arc, floor: float) -> float:
    return math.hypot(max(arc.total_error, arc.length_error), floor)


def bias_floor(fit: TensorFit) -> float:
    """Errors of weights that do not become smaller with more elements.

    Rounding errors are correlated with what is rounded by about the square of the step.
    """
    return _step(fit) ** 2


def _floor(fit: TensorFit, rounded: bool) -> float:
    """Errors of sums that the fit does not know of."""
    return max(_step(fit) if rounded else bias_floor(fit), _ARITHMETIC)


def _step(fit: TensorFit) -> float:
    form = fit.sample.form
    known = FLOAT_FORMATS[form] if form is not None else None
    return 2.0 ** (1 - (known.precision if known else _FLOAT32))


def _span(totals: np.ndarray) -> str:
    low, high = np.quantile(totals, (0.05, 0.95))
    return f"{low:.4f}" if high - low < 5e-4 else f"{low:.4f} to {high:.4f}"


def one_parent_each(fits: Sequence[TensorFit]) -> list[int] | None:
    """The parent that each tensor is a copy of; None unless all are copies.

    Args:
        fits: Tensors that are explained up to rounding.
    """
    winners = []
    for fit in fits:
        winner = int(np.argmax(fit.weights))
        target = np.eye(len(fit.weights))[winner]
        if (np.abs(fit.weights - target) > _limits(fit)).any():
            return None
        winners.append(winner)
    return winners


def takes_part(fits: Sequence[TensorFit]) -> list[int]:
    """Parents that have a weight in at least one tensor.

    Args:
        fits: Tensors that are explained up to rounding.
    """
    taking = np.zeros(len(fits[0].weights), bool)
    for fit in fits:
        taking |= np.abs(fit.weights) > _limits(fit)
    return [int(i) for i in np.flatnonzero(taking)]


def _limits(fit: TensorFit) -> np.ndarray:
    return np.asarray(np.maximum(TOLERANCE, ERRORS * fit.errors))
