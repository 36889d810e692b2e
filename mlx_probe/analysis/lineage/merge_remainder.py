"""What a model is that no weighted sum of the parents explains up to rounding.

Merges that drop elements or resolve signs (TIES, DARE and others), merges whose parents are not
all known, and merges that were trained further leave something of several parents in a model. So
does mere kinship: two fine-tunes explain half of a third one's distance from either, because all
contain the base. What is asked is therefore whether the parents explain more than kinship does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_probe.analysis.lineage.merge_fit import Model, TensorFit
from mlx_probe.analysis.lineage.merge_records import MergeMethod
from mlx_probe.analysis.lineage.storage_noise import ulps
from mlx_probe.core.dtypes import FLOAT_FORMATS

__all__ = ["Remainder", "judge_remainder"]

# Parents with a cosine below this have nothing in common.
_STRANGERS = 0.5
# Least share of the change that a merge's parents explain, where chance explains nothing.
_LEAST_EXPLAINED = 0.05
# The same where only elements that are the base's are missing as evidence: the tunes of one base
# have up to a fifth of their changes in common.
_MORE_THAN_SIBLINGS = 0.3
# Share of the elements that are exactly one parent's, from which it is no chance, among elements
# with so many units of the last place between parents.
_TAKEN, _FAR = 0.15, 32
# Of a verdict that nothing exact speaks for.
_SURE = 0.9
# Least weight of each of two parents.
_LEAST_WEIGHT = 0.05
# Below this, the remainder is smaller than that of anything of the parents' kin; see `_kinship`.
_KIN = 0.5
_LEAST_ELEMENTS = 1024


@dataclass(frozen=True)
class Remainder:
    """The verdict.

    Attributes:
        method: "unknown" or "none".
        probability: That it is a merge of at least two of the parents.
        explained: Share of the change that the weighted sums explain.
        why: What speaks for it, in sentences.
    """

    method: MergeMethod
    probability: float
    explained: float
    why: tuple[str, ...]


def judge_remainder(
    fits: Sequence[TensorFit], model: Model, names: Sequence[str], has_base: bool
) -> Remainder:
    """Whether the parents explain more of a model than kinship does.

    Args:
        fits: Tensors, at least one.
        model: What was fitted.
        names: Names of the parents, with the base at the end.
        has_base: Whether the last one is the base.
    """
    # Vectors of norms are alike in all models.
    matrices = [fit for fit in fits if fit.sample.child.size >= _LEAST_ELEMENTS] or list(fits)
    weights = np.median([fit.weights for fit in matrices], axis=0)
    strangers = float(np.median([abs(fit.cosine) for fit in matrices])) < _STRANGERS
    shares = weights[:-1] if has_base else weights
    two = np.sort(shares)[-2] if len(shares) > 1 else shares[0]
    taken = _taken(matrices)
    why = list[str]()
    if has_base or strangers:
        changes = [fit.change if has_base else _length(fit) for fit in matrices]
        explained = _explained(matrices, changes)
        of = "the change from the base" if has_base else "the model"
        least = _LEAST_EXPLAINED
        if has_base and taken[-1] < _TAKEN:
            # Siblings move in the same direction, too.
            least = _MORE_THAN_SIBLINGS
        known = explained >= least and two >= _LEAST_WEIGHT
        probability = explained / (explained + least / 4) if known else 0.05
    else:
        explained = _explained(matrices, [fit.change for fit in matrices])
        kinship = _kinship(matrices, model)
        of = f"the distance from {names[model.reference]}"
        known = kinship < _KIN and two >= _LEAST_WEIGHT
        probability = 1 / (1 + (kinship / _KIN) ** 4) if known else 0.05
        if np.sort(taken)[-2] >= _TAKEN:
            known, probability = True, max(probability, _SURE)
    listed = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True))
    why += [f"weighted sums explain {100 * explained:.3g} % of {of}", f"best weights: {listed}"]
    if known:
        why += [
            f"{100 * share:.3g} % of the elements that differ are those of {name}"
            for name, share in zip(names, taken, strict=True)
            if share >= _TAKEN
        ]
        why.append("the parents explain more than kinship does: a merge of another kind, or others")
        return Remainder("unknown", min(probability, _SURE), explained, tuple(why))
    return Remainder("none", probability, explained, tuple(why))


def _taken(fits: Sequence[TensorFit]) -> np.ndarray:
    """For each parent the share of elements that are exactly its own, where all parents differ.

    Only where two parents are far apart in units of the last place: nearer ones are equal by
    chance.
    """
    shares = []
    for fit in fits:
        sample = fit.sample
        if sample.form is None:
            continue
        child = sample.child.astype(np.float64)
        far = np.abs(sample.parents[0] - sample.parents[-1]) >= _FAR * ulps(
            child, FLOAT_FORMATS[sample.form]
        )
        if far.any():
            shares.append([float((sample.child[far] == p[far]).mean()) for p in sample.parents])
    return np.asarray(
        np.median(shares, axis=0) if shares else np.zeros(len(fits[0].sample.parents))
    )


def _length(fit: TensorFit) -> float:
    return float(np.sqrt(np.square(fit.sample.child).mean()))


def _explained(fits: Sequence[TensorFit], changes: Sequence[float]) -> float:
    shares = [
        1 - (fit.residual / change) ** 2
        for fit, change in zip(fits, changes, strict=True)
        if change > 0
    ]
    return max(float(np.median(shares)), 0.0) if shares else 0.0


def _kinship(fits: Sequence[TensorFit], model: Model) -> float:
    """Mean square of the remainder, in units of what the parents' own base would leave.

    If the parents are a base and changes that have nothing in common, the base itself is best
    explained by weights w_i that leave sum over i < j of w_i w_j (P_i - P_j)^2 / (parents - 1).
    A sibling leaves more, a merge less.
    """
    known = [
        (model.parents - 1) * (fit.residual / fit.spread) ** 2 for fit in fits if fit.spread > 0
    ]
    return float(np.median(known)) if known else np.inf
