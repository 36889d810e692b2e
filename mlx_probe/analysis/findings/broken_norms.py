"""Norms of another size or sign than the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.deviation import Deviations, deviations
from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.norms import norm_weights
from mlx_probe.analysis.findings.view import Indices, RunView
from mlx_probe.analysis.findings.words import count, figure, names_by

__all__ = ["BROKEN_NORMS"]

# Factor from the median of the other norms from which the size of a norm is named.
_FACTOR = 8.0


def _find(view: RunView) -> Iterator[Finding]:
    norms = norm_weights(view)
    rms = view.numbers("rms")
    away = deviations(view, rms, norms)
    rows = np.flatnonzero(norms & away.beyond(_FACTOR) & (view.numbers("max") > 0))
    if len(rows):
        yield _size(view, rows, away)
    middle = view.numbers("q50")
    negative = np.flatnonzero(norms & (middle < 0) & (rms > 0))
    others = int(np.sum(norms & (middle > 0)))
    # Where half of the norms are negative it is how the model counts.
    if len(negative) and others > 4 * len(negative):
        yield _negative(view, negative, others)


def _size(view: RunView, rows: Indices, away: Deviations) -> Finding:
    ratios, medians = away.ratio[rows], away.median[rows]
    far = np.abs(np.log(ratios))
    at = int(np.argmax(far))
    worst = int(rows[at])
    values = {
        "name": view.names[worst],
        "rms": figure(float(view.numbers("rms")[worst])),
        "ratio": figure(float(ratios[at])),
        "median": figure(float(medians[at])),
    }
    if len(rows) == 1:
        text = Text(
            "{name} has an rms of {rms}, {ratio} times the median of the norms ({median}).", values
        )
    else:
        text = Text(
            "{count} norms are of another size than the others; {name} most: its rms of {rms} is "
            "{ratio} times the median ({median}).",
            {"count": count(len(rows)), **values},
        )
    return Finding(
        "medium",
        text,
        names_by(view, rows, far),
        {"norms": len(rows), "ratio": [float(ratios.min()), float(ratios.max())]},
        Text(
            "Compare with the norms of the neighbouring layers; a scale that was applied twice, "
            "or folded into the norm, looks like this."
        ),
        float(min(1.0, far[at] / np.log(1000))),
    )


def _negative(view: RunView, rows: Indices, others: int) -> Finding:
    middle = view.numbers("q50")
    worst = int(rows[np.argmin(middle[rows])])
    values = {
        "name": view.names[worst],
        "median": figure(float(middle[worst])),
        "others": count(others),
    }
    if len(rows) == 1:
        text = Text(
            "{name} turns the sign of most channels: its median is {median}, while those of the "
            "other {others} norms are positive.",
            values,
        )
    else:
        text = Text(
            "{count} norms turn the sign of most channels; the median of {name} is {median}, "
            "while those of {others} others are positive.",
            {"count": count(len(rows)), **values},
        )
    return Finding(
        "medium",
        text,
        names_by(view, rows, -middle[rows]),
        {"norms": len(rows), "median": float(middle[worst])},
        Text("Check how the file was converted: a trained norm seldom changes signs."),
        0.6,
    )


BROKEN_NORMS = Rule(
    name="broken_norms",
    title="Broken norms",
    about=(
        "the rms of a norm's weights is a factor of 8 and more than 6 robust standard "
        "deviations (of the logarithm) from the median of the norms, or most of its weights are "
        "negative"
    ),
    source="Iglewicz and Hoaglin 1993, How to detect and handle outliers",
    find=_find,
)
