"""Layers that are mixtures of two others, and layers that are nearly copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.blocks import Stack, stacks
from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import figure, names_by
from mlx_probe.core.median import median

__all__ = ["AVERAGED_BLOCKS"]

# Tensors that must agree: each could by chance.
_FEWEST, _MOST = 6, 64
# Largest distance of the means from those of the mixture, in spreads over the layers: root mean
# square, and of one tensor. Rounding to bfloat16 makes about 0.001, training a little further more.
_CLOSE, _CLOSEST_MISS = 0.02, 0.08
# Blocks of a network beyond which only neighbours are tried: the pairs grow with the square.
_ALL_PAIRS, _NEAR = 128, 16


class _Fit(NamedTuple):
    """Block ``at`` as ``weight`` times ``one`` plus the rest times ``other``."""

    at: int
    one: int
    other: int
    weight: float
    miss: float


def _find(view: RunView) -> Iterator[Finding]:
    aliases = np.array([alias is not None for alias in view.texts("alias_of")], bool)
    for stack in stacks(view):
        units = _means(view, stack)
        if units is None:
            continue
        copied = np.array([aliases[rows[rows >= 0]].any() for rows in stack.rows], bool)
        fits = [fit for at in np.flatnonzero(~copied) if (fit := _best(units, int(at), copied))]
        for fit in _one_of_each(fits):
            yield _finding(view, stack, fit)


def _means(view: RunView, stack: Stack) -> NDArray[np.float64] | None:
    """Means of the tensors in spreads over the layers, shape (layers, tensors).

    The mean of a mixture of two tensors is the mixture of their means, whatever they hold: of all
    columns only this one is linear.
    """
    whole = (stack.rows >= 0).all(axis=0)
    means = stack.of(view.numbers("mean"))[:, whole]
    means = means[:, np.isfinite(means).all(axis=0)]
    spread = median(np.abs(means - median(means))) * 1.4826
    means, spread = means[:, spread > 0][:, :_MOST], spread[spread > 0][:_MOST]
    if means.shape[1] < _FEWEST or len(means) < 3:
        return None
    return means / spread


def _best(units: NDArray[np.float64], at: int, copied: NDArray[np.bool_]) -> _Fit | None:
    """The pair of blocks whose mixture comes closest to a block, if any comes close."""
    layers = np.arange(len(units))
    near = np.ones(len(units), bool) if len(units) <= _ALL_PAIRS else abs(layers - at) <= _NEAR
    others = np.flatnonzero(near & ~copied & (layers != at))
    first, second = (others[side] for side in np.triu_indices(len(others), k=1))
    if not len(first):
        return None
    step, away = units[first] - units[second], units[at] - units[second]
    weight = np.sum(step * away, axis=1) / np.maximum(np.sum(step * step, axis=1), 1e-300)
    weight = np.clip(weight, 0, 1)
    rest = np.abs(away - weight[:, None] * step)
    miss = np.sqrt(np.mean(rest**2, axis=1))
    best = int(np.argmin(miss))
    if miss[best] > _CLOSE or rest[best].max() > _CLOSEST_MISS:
        return None
    pair = int(first[best]), int(second[best])
    return _Fit(at, *pair, float(weight[best]), float(miss[best]))


def _one_of_each(fits: list[_Fit]) -> Iterator[_Fit]:
    """Of three blocks in a line, the one in the middle; of two that are alike, the later."""
    taken: set[frozenset[int]] = set()
    for fit in sorted(fits, key=lambda fit: (abs(fit.weight - 0.5), -fit.at)):
        alike = _twin(fit)
        group = frozenset((fit.at, fit.one, fit.other) if alike is None else (fit.at, alike))
        if not any(group <= other or other <= group for other in taken):
            taken.add(group)
            yield fit


def _twin(fit: _Fit) -> int | None:
    """The block that another one nearly copies; None for a mixture."""
    if fit.weight > 0.98:
        return fit.one
    return fit.other if fit.weight < 0.02 else None


def _finding(view: RunView, stack: Stack, fit: _Fit) -> Finding:
    rows = stack.rows[fit.at]
    rows = rows[rows >= 0]
    layer, twin = stack.layers[fit.at], _twin(fit)
    one, other = stack.layers[fit.one], stack.layers[fit.other]
    miss = figure(fit.miss)
    if twin is not None:
        text = Text(
            "Layer {layer} is nearly a copy of layer {other}: the means of its tensors differ by "
            "{miss} of what layers differ by.",
            {"layer": layer, "other": stack.layers[twin], "miss": miss},
        )
    else:
        text = Text(
            "Layer {layer} is a mixture of layers {one} and {other}, {share} to {rest}: the means "
            "of its tensors miss those of the mixture by {miss} of what layers differ by.",
            {
                "layer": layer,
                "one": one,
                "other": other,
                "share": f"{fit.weight:.2f}",
                "rest": f"{1 - fit.weight:.2f}",
                "miss": miss,
            },
        )
    return Finding(
        "high",
        text,
        names_by(view, rows, np.zeros(len(rows))),
        {
            "layer": layer,
            "of": [one, other] if twin is None else [stack.layers[twin]],
            "weights": [fit.weight, 1 - fit.weight],
            "miss": fit.miss,
            "tensors": len(rows),
        },
        Text(
            "Keep it if the layer was put in to make the model deeper; it has to be trained before "
            "it does anything of its own."
        ),
        0.9,
    )


AVERAGED_BLOCKS = Rule(
    name="averaged_blocks",
    title="Averaged blocks",
    about=(
        "the means of at least 6 tensors of a layer are one mixture of those of two other "
        "layers, or those of another layer, within 0.02 of the spread over the layers; weights "
        "that were packed to few bits afterwards do not show it"
    ),
    source="defined here: the mean of a mixture is the mixture of the means",
    find=_find,
)
