"""Matrices that still look as they were initialised."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import Mask, RunView
from mlx_probe.analysis.findings.words import count, figure, names_by, number

__all__ = ["UNTRAINED"]

# Excess kurtosis of what initialisers draw: normal, uniform, normal cut at two deviations.
_KURTOSES = {"normal": 0.0, "uniform": -1.2, "truncated normal": -0.6344}
# Standard errors that a sample may be away, and what rounding to few bits may add.
_ERRORS, _ROUNDING = 4.0, 0.01
# Fewer elements, or a shorter side, tell too little.
_FEWEST, _SHORTEST = 1024, 16
# Share of the matrices from which the model as a whole is untrained.
_HALF = 0.5


def _noise(view: RunView) -> Mask:
    """Matrices that have the spectrum and the elements of independent noise."""
    n = view.numbers("numel")
    kurtosis, skewness = view.numbers("kurtosis"), view.numbers("skewness")
    with np.errstate(divide="ignore", invalid="ignore"):
        slack = _ERRORS * np.sqrt(24 / n) + _ROUNDING
        drawn = np.any([np.abs(kurtosis - k) <= slack for k in _KURTOSES.values()], axis=0)
        drawn &= np.abs(skewness) <= _ERRORS * np.sqrt(6 / n) + _ROUNDING
        drawn &= np.abs(view.numbers("mean")) <= _ERRORS * view.numbers("std") / np.sqrt(n)
    within = (view.numbers("spikes") == 0) & (view.numbers("mp_softrank") > 0.9)
    noise: Mask = view.matrices & drawn & within & (n >= _FEWEST) & (view.short >= _SHORTEST)
    return noise


def _find(view: RunView) -> Iterator[Finding]:
    noise = _noise(view)
    rows = np.flatnonzero(noise)
    if not len(rows):
        return
    judged = int(np.sum(view.matrices & (view.short >= _SHORTEST)))
    share = len(rows) / judged
    softrank = view.numbers("mp_softrank")
    first = int(rows[np.argmax(view.numbers("numel")[rows])])
    values = {
        "name": view.names[first],
        "norm": figure(float(view.numbers("spectral_norm")[first])),
        "edge": figure(float(view.numbers("mp_edge")[first])),
        "kurtosis": figure(float(view.numbers("kurtosis")[first])),
    }
    if len(rows) == 1 and _bias_is_zero(view, first):
        text = Text(
            "{name} looks untrained: its largest singular value, {norm}, lies at the edge of "
            "noise, {edge}, the excess kurtosis of its elements is {kurtosis} (0 if they are drawn "
            "from a normal distribution), and its bias is 0.",
            values,
        )
    elif len(rows) == 1:
        text = Text(
            "{name} looks untrained: its largest singular value, {norm}, lies at the edge of "
            "noise, {edge}, and the excess kurtosis of its elements is {kurtosis} (0 if they are "
            "drawn from a normal distribution, -1.2 from a uniform one).",
            values,
        )
    else:
        text = Text(
            "{count} of {total} matrices look untrained: no singular value is beyond the edge of "
            "noise, and their elements are distributed as initialisers draw them; {name} is the "
            "largest.",
            {"count": count(len(rows)), "total": count(judged), **values},
        )
    yield Finding(
        "high" if share >= _HALF and len(rows) > 1 else "medium",
        text,
        names_by(view, rows, view.numbers("numel")[rows]),
        {
            "matrices": len(rows),
            "share": share,
            "mp_softrank": [float(softrank[rows].min()), float(softrank[rows].max())],
            "spikes": 0,
            "kurtosis": number(view, "kurtosis", first),
        },
        Text(
            "Check whether the model uses it: a part that was added or never trained may be left "
            "out, or its weights did not load."
            if len(rows) == 1
            else "Check whether the model uses these matrices: a part that was added or never "
            "trained may be left out, or its weights did not load."
        ),
        min(1.0, 0.5 + share),
    )


def _bias_is_zero(view: RunView, row: int) -> bool:
    bias = view.names[row].removesuffix("weight") + "bias"
    return bias in view.names and view.numbers("abs_max")[view.names.index(bias)] == 0


UNTRAINED = Rule(
    name="untrained",
    title="Looks untrained",
    about=(
        "no singular value lies beyond the 99.5 % point of noise, and mean, skewness and "
        "kurtosis of the elements are those of a normal, uniform or truncated normal "
        "distribution within 4 standard errors"
    ),
    source="Marchenko and Pastur 1967; Martin and Mahoney 2021, JMLR 22(165)",
    find=_find,
)
