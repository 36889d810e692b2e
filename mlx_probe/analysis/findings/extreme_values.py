"""Single values far beyond the others of their matrix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, figure, names_by, number

__all__ = ["EXTREME_VALUES"]

# Largest magnitudes, in rms of the matrix, from which a matrix is named, and is more than a note.
_NAMED, _MEDIUM = 30.0, 60.0


def _find(view: RunView) -> Iterator[Finding]:
    rms = view.numbers("rms")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = view.numbers("abs_max") / rms
    rows = np.flatnonzero(view.matrices & (ratio >= _NAMED) & np.isfinite(ratio))
    if not len(rows):
        return
    worst = int(rows[np.argmax(ratio[rows])])
    gauss = float(np.sqrt(2 * np.log(view.numbers("numel")[worst])))
    values = {
        "name": view.names[worst],
        "value": figure(float(view.numbers("abs_max")[worst])),
        "high": figure(float(ratio[worst])),
        "gauss": figure(gauss),
    }
    if len(rows) == 1:
        text = Text(
            "{name} holds a value of {value}, {high} times the rms of the matrix, where Gaussian "
            "weights reach {gauss}.",
            values,
        )
    else:
        text = Text(
            "{count} matrices ({kinds}) hold single values of {low} to {high} times their rms, "
            "where Gaussian weights reach {gauss}; the largest is {value} in {name}.",
            {
                "count": count(len(rows)),
                "kinds": ", ".join(dict.fromkeys(view.kinds[rows])),
                "low": figure(float(ratio[rows].min())),
                **values,
            },
        )
    top = float(ratio[worst])
    remedy = (
        Text(
            "Keep these matrices, or their outlier channels, in more bits when you quantize; a "
            "single value of this size can matter more than its whole layer."
        )
        if view.texts("packing")[worst] in (None, "plain")
        else Text(
            "Compare with the model before it was quantized: a single value of this size costs "
            "its whole block its precision."
        )
    )
    yield Finding(
        "medium" if top >= _MEDIUM else "note",
        text,
        names_by(view, rows, ratio[rows]),
        {
            "matrices": len(rows),
            "over_rms": [float(ratio[rows].min()), top],
            "gaussian": gauss,
            "kurtosis": number(view, "kurtosis", worst),
        },
        remedy,
        min(1.0, float(np.log10(top / gauss)) / 2),
    )


EXTREME_VALUES = Rule(
    name="extreme_values",
    title="Extreme values",
    about="the largest magnitude of a matrix is at least 30 times its rms",
    source="Yu et al. 2024, The Super Weight in Large Language Models, arXiv 2411.07191",
    find=_find,
)
