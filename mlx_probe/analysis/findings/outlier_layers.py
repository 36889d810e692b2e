"""Layers whose weights are of another size than those of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.deviation import Deviations, deviations
from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import Indices, RunView
from mlx_probe.analysis.findings.words import count, figure, names_by, ranges
from mlx_probe.core.median import median

__all__ = ["OUTLIER_LAYERS"]

# Factors from which a weight, and a bias or another vector, is named.
_MATRIX, _VECTOR = 2.0, 4.0
# Factor from which a single weight is more than a note.
_MEDIUM = 4.0
# A layer is named as a whole if this share of its matrices deviates in one direction.
_MOST = 0.6


def _find(view: RunView) -> Iterator[Finding]:
    std = view.numbers("std")
    is_matrix = np.isfinite(view.short)
    # A norm's weights are near 1 and have a rule of their own.
    is_norm = np.array([kind == "norm" for kind in view.texts("block_type")], bool)
    judged = view.leaves & ~is_norm & np.isfinite(view.layers)
    away = deviations(view, std, judged)
    beyond = np.where(is_matrix, away.beyond(_MATRIX), away.beyond(_VECTOR))
    for rows in list(_layers(view, away, beyond & is_matrix, judged & is_matrix)):
        yield _layer(view, away, rows)
        beyond[rows] = False
    for among in (is_matrix, ~is_matrix):
        rows = np.flatnonzero(beyond & among)
        if len(rows):
            yield _weights(view, away, rows, std)


def _layers(
    view: RunView, away: Deviations, beyond: NDArray[np.bool_], judged: NDArray[np.bool_]
) -> Iterator[Indices]:
    """Rows of each layer of which most matrices deviate in one direction."""
    for layer in sorted(set(view.layers[beyond].tolist())):
        inside = judged & (view.layers == layer)
        for sign in (1, -1):
            rows = np.flatnonzero(inside & beyond & (np.sign(np.log(away.ratio)) == sign))
            if len(rows) >= max(2, _MOST * int(inside.sum())):
                yield rows


def _layer(view: RunView, away: Deviations, rows: Indices) -> Finding:
    ratio = away.ratio[rows]
    layer = int(view.layers[rows[0]])
    values = {
        "layer": layer,
        "count": count(len(rows)),
        "low": figure(float(ratio.min())),
        "high": figure(float(ratio.max())),
    }
    return Finding(
        "medium",
        Text(
            "Layer {layer} is of another size than the others: {count} of its matrices have "
            "{low} to {high} times the median standard deviation of their kind.",
            values,
        ),
        names_by(view, rows, np.abs(np.log(ratio))),
        {"layer": layer, "ratio": [float(ratio.min()), float(ratio.max())], **_z(away, rows)},
        Text(
            "Compare the layer with its neighbours in the report's map of std; look for a scale "
            "that was applied twice or not at all, and for norms that make up for it."
        ),
        _size(float(median(ratio))),
    )


def _weights(view: RunView, away: Deviations, rows: Indices, std: NDArray[np.float64]) -> Finding:
    ratio = away.ratio[rows]
    far = np.abs(np.log(ratio))
    worst = int(rows[np.argmax(far)])
    values = {
        "name": view.names[worst],
        "std": figure(float(std[worst])),
        "ratio": figure(float(away.ratio[worst])),
        "members": count(away.members[worst]),
        "kind": view.kinds[worst],
        "median": figure(float(away.median[worst])),
    }
    if len(rows) == 1:
        text = Text(
            "{name} has a standard deviation of {std}, {ratio} times the median of the {members} "
            "{kind} ({median}).",
            values,
        )
    else:
        text = Text(
            "{count} tensors (layers {layers}) differ in size from their kind; {name} most: its "
            "standard deviation of {std} is {ratio} times the median of the {members} {kind} "
            "({median}).",
            {"count": count(len(rows)), "layers": ranges(view.layers[rows]), **values},
        )
    is_large = np.isfinite(view.short[worst]) and far.max() >= np.log(_MEDIUM)
    return Finding(
        "medium" if is_large else "note",
        text,
        names_by(view, rows, far),
        {"ratio": [float(ratio.min()), float(ratio.max())], **_z(away, rows)},
        Text(
            "Compare with the same tensor of the neighbouring layers; the first and last layers "
            "of a trained model often differ, others seldom do."
        ),
        _size(float(away.ratio[worst])),
    )


def _z(away: Deviations, rows: Indices) -> dict[str, list[float]]:
    return {"z": [float(away.z[rows].min()), float(away.z[rows].max())]}


def _size(ratio: float) -> float:
    """0 for no difference, 1 for a factor of 1,000."""
    return float(min(1.0, abs(np.log10(ratio)) / 3))


OUTLIER_LAYERS = Rule(
    name="outlier_layers",
    title="Outlier layers",
    about=(
        "the standard deviation of weights is more than 6 robust standard deviations (of the "
        "logarithm) and a factor of 2 from the median of their kind, of biases and other "
        "vectors a factor of 4; of most matrices of a layer, the layer is named"
    ),
    source="Iglewicz and Hoaglin 1993, How to detect and handle outliers",
    find=_find,
)
