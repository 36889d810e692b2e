"""Whether a model is a merge of others, and with which weights: by least squares on its tensors.

Each tensor of a linear merge is C = sum of w_i P_i + e, and what rounding to the stored type
makes is known: e has about the root mean square ulp / sqrt(12). A residual of that size cannot be
had by chance, so a model whose tensors all have it is a merge of these parents; one with more is
something else, whatever the weights are that fit it best. How: `merge_fit` for one tensor, `slerp`
for the arc between two, `merge_agreement` for weights that tensors share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.lineage.merge_agreement import by_arc, by_sum, grouped, uniformity
from mlx_probe.analysis.lineage.merge_fit import Model, TensorFit, TensorSample, fit_tensor, pool
from mlx_probe.analysis.lineage.merge_matching import MergeSamples, merge_samples
from mlx_probe.analysis.lineage.merge_method import (
    bias_floor,
    kind_of_sum,
    one_parent_each,
    takes_part,
)
from mlx_probe.analysis.lineage.merge_records import GroupWeights, MergeMethod, MergeWeights, Part
from mlx_probe.analysis.lineage.merge_remainder import judge_remainder
from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint
    from mlx_probe.analysis.lineage.merge_agreement import Pooling

__all__ = ["is_rounding", "merge_weights", "weights_of_samples"]

# Residual over rounding noise up to which rounding explains the residual. Sums that are computed
# in the stored type are rounded several times, which makes up to 1.4; steps of packings are
# estimated.
MOST_RATIO, MOST_RATIO_PACKED = 1.8, 3.0
# Share of the sampled elements whose tensors have to be so explained.
LEAST_FITTING = 0.95
# A tensor says something about the weights if their standard errors are smaller than this; the
# whole, if those of all tensors together are smaller than this.
TELLING, DETERMINED = 0.1, 0.05


def merge_weights(
    child: Fingerprint, parents: Sequence[Fingerprint], base: Fingerprint | None = None
) -> MergeWeights:
    """Say whether a model is a merge of others, and with which weights.

    Args:
        child: The model.
        parents: Those that it may be a merge of, at least two, or one with a base; read with the
            same settings.
        base: What the parents were made from: the weights are then those of task arithmetic,
            child = base + sum of weights * (parent - base).

    Raises:
        ConfigError: There are too few parents, or a model occurs twice.
    """
    everyone = [*parents, *([base] if base is not None else [])]
    if len(everyone) < 2:
        raise ConfigError("a merge has at least two parents", "Name the other ones, too")
    paths = [child.path, *(each.path for each in everyone)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is named twice", "Name each model once")
    names = [each.model for each in parents]
    if base is not None and len(parents) > 1:
        # What needs no base is the simpler explanation.
        alone = weights_of_samples(child.model, names, None, merge_samples(child, parents))
        if alone.is_merge:
            return alone
    samples = merge_samples(child, everyone)
    return weights_of_samples(child.model, names, base.model if base else None, samples)


def weights_of_samples(
    child: str, parents: Sequence[str], base: str | None, samples: MergeSamples
) -> MergeWeights:
    """The same for elements that are in memory.

    Args:
        child: The child's name.
        parents: The parents' names.
        base: The base's name; its tensors are then the last of each sample.
        samples: The tensors.
    """
    names = [*parents, *([base] if base is not None else [])]
    model = Model(len(names) - 1 if base is not None else 0, base is None, len(names))
    verdict = _Verdict(child, parents, base, names, model, samples)
    fits = [fit for sample in samples.tensors if (fit := fit_tensor(sample, model)) is not None]
    return verdict.of(fits)


class _Verdict:
    """Puts the fits of all tensors together."""

    def __init__(
        self,
        child: str,
        parents: Sequence[str],
        base: str | None,
        names: Sequence[str],
        model: Model,
        samples: MergeSamples,
    ) -> None:
        self._child, self._parents, self._base = child, tuple(parents), base
        self._names, self._model, self._samples = names, model, samples
        self._residual: float | None = None
        self._fitting, self._same = 0.0, 0

    def of(self, fits: Sequence[TensorFit]) -> MergeWeights:
        """The verdict."""
        if not fits:
            return self._record("undetermined", 0.0, ["the models have no tensors in common"])
        # Where all parents are equal, a child with the same values says nothing.
        equal = {id(fit) for fit in fits if _parents_are_equal(fit.sample)}
        self._same = len(equal)
        saying = [fit for fit in fits if id(fit) not in equal or not is_rounding(fit)]
        telling = [fit for fit in saying if fit.errors.max() <= TELLING]
        if not telling and all(is_rounding(fit) for fit in saying):
            alike = "the parents differ by less than rounding in all tensors"
            return self._record("undetermined", 0.0, [alike])
        self._residual = float(np.median([fit.ratio for fit in saying]))
        sizes = np.array([fit.sample.child.size for fit in saying])
        good = np.array([is_rounding(fit) for fit in saying])
        self._fitting = float(sizes @ good / sizes.sum())
        explained = [fit for fit in telling if is_rounding(fit)]
        if self._fitting < LEAST_FITTING or not explained:
            rest = judge_remainder(saying, self._model, self._names, self._base is not None)
            off = f"the best weighted sum is off by {self._residual:.3g} times what rounding makes"
            return self._record(rest.method, rest.probability, [off, *rest.why], rest.explained)
        return self._merged(explained)

    def _merged(self, fits: Sequence[TensorFit]) -> MergeWeights:
        """Of tensors that are weighted sums of the parents' up to rounding."""
        shared = pool(fits, self._model)
        if shared.errors.max() > DETERMINED:
            alike = (
                f"the parents are too alike: a weight is known to {shared.errors.max():.2g} only"
            )
            return self._record("undetermined", 0.0, [alike])
        assert self._residual is not None
        limits = [_limit(fit) for fit in fits]
        sure = 1 / (1 + (self._residual / float(np.median(limits))) ** 10)
        why = [f"a weighted sum is off by {self._residual:.3g} times what rounding makes"]
        winners = one_parent_each(fits)
        if winners is not None:
            copied = [self._names[i] for i in sorted(set(winners))]
            if len(copied) > 1:
                why.append(f"each tensor is that of one of these models: {', '.join(copied)}")
                return self._with_weights("passthrough", sure, why, fits, by_sum(self._model))
            why.append(f"all tensors are those of {copied[0]}")
            return self._with_weights("copy", 1 - sure, why, fits, by_sum(self._model))
        taking = takes_part(fits)
        if len(taking) < 2:
            why.append(f"only {self._names[taking[0]]} takes part")
            return self._with_weights("none", 1 - sure, why, fits, by_sum(self._model))
        if self._base is not None:
            return self._with_weights("task arithmetic", sure, why, fits, by_sum(self._model))
        method: MergeMethod = "linear"
        if len(self._parents) == 2:
            kind = kind_of_sum(fits)
            method = kind.method
            why.append(kind.why)
        if method == "linear":
            return self._with_weights(method, sure, why, fits, by_sum(self._model))
        return self._with_weights(method, sure, why, fits, by_arc)

    def _with_weights(
        self,
        method: MergeMethod,
        probability: float,
        why: Sequence[str],
        fits: Sequence[TensorFit],
        pooling: Pooling,
    ) -> MergeWeights:
        """With the weights of groups, and of the whole if they agree."""
        groups = tuple(
            GroupWeights(
                layer=group[0].sample.layer,
                component=group[0].sample.component,
                parts=self._parts(pooling, group),
                tensors=len(group),
                residual=float(np.median([fit.ratio for fit in group])),
            )
            for group in grouped(fits, "layer and component").values()
        )
        record = self._record(method, probability, why)
        level = uniformity(fits, pooling)
        shared = pool(fits, self._model)
        whole = level == "all"
        free = whole and self._model.free_sum
        return replace(
            record,
            parts=self._parts(pooling, fits) if whole else (),
            total=float(shared.weights.sum()) if free else None,
            total_error=shared.sum_error if free else None,
            groups=groups,
            uniform=level,
        )

    def _parts(self, pooling: Pooling, fits: Sequence[TensorFit]) -> tuple[Part, ...]:
        shares = pooling(fits)
        floor = max(bias_floor(fit) for fit in fits)
        return tuple(
            Part(name, float(weight), math.hypot(error, floor))
            for name, weight, error in zip(self._names, shares.weights, shares.errors, strict=True)
        )

    def _record(
        self,
        method: MergeMethod,
        probability: float,
        why: Sequence[str],
        explained: float | None = None,
    ) -> MergeWeights:
        return MergeWeights(
            child=self._child,
            parents=self._parents,
            base=self._base,
            method=method,
            probability=probability,
            parts=(),
            total=None,
            total_error=None,
            groups=(),
            uniform=None,
            residual=self._residual,
            fitting=self._fitting,
            explained=explained,
            tensors=len(self._samples.tensors),
            same=self._same,
            left_out=self._samples.left_out,
            why=tuple(why),
        )


def _limit(fit: TensorFit) -> float:
    packed = fit.sample.form is None or any(fit.sample.parent_noise)
    return MOST_RATIO_PACKED if packed else MOST_RATIO


def is_rounding(fit: TensorFit) -> bool:
    """Whether rounding explains what a weighted sum leaves of a tensor."""
    return fit.ratio <= _limit(fit)


def _parents_are_equal(sample: TensorSample) -> bool:
    return all(np.array_equal(sample.parents[0], other) for other in sample.parents[1:])
