"""Matrices that rounding to few bits would damage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, figure, names_by, number, percent, whole_number
from mlx_probe.core.median import median

__all__ = ["QUANTIZATION_RISK"]

# Errors of 4-bit rounding from which a matrix is named, and is more than a note. Gaussian weights
# lose 0.09.
_NAMED, _MEDIUM = 0.15, 0.25
# Tables of a few rows weigh nothing in any type.
_SHORTEST = 8


def _find(view: RunView) -> Iterator[Finding]:
    error = view.numbers("q4_nrmse")
    rows = np.flatnonzero(view.leaves & (error >= _NAMED) & (view.short >= _SHORTEST))
    if not len(rows):
        return
    worst = int(rows[np.argmax(error[rows])])
    middle = float(median(error[view.leaves & np.isfinite(error)]))
    values = {
        "name": view.names[worst],
        "error": percent(float(error[worst])),
        "eight": percent(float(view.numbers("q8_nrmse")[worst])),
        "ratio": figure(float(error[worst]) / middle),
        "median": percent(middle),
    }
    if len(rows) == 1:
        text = Text(
            "{name} would lose {error} of its rms to 4-bit rounding, {ratio} times the median of "
            "the matrices ({median}), and {eight} to 8 bits.",
            values,
        )
    else:
        text = Text(
            "{count} matrices would lose {low} to {error} of their rms to 4-bit rounding; {name} "
            "loses most, {ratio} times the median of all ({median}), and {eight} to 8 bits.",
            {"count": count(len(rows)), "low": percent(float(error[rows].min())), **values},
        )
    top = float(error[worst])
    yield Finding(
        "medium" if top >= _MEDIUM else "note",
        text,
        names_by(view, rows, error[rows]),
        {
            "matrices": len(rows),
            "q4_nrmse": [float(error[rows].min()), top],
            "q8_nrmse": number(view, "q8_nrmse", worst),
            "median": middle,
            "outlier_columns": whole_number(view, "outlier_columns", worst),
            "outlier_rows": whole_number(view, "outlier_rows", worst),
        },
        Text(
            "Leave these matrices in 8 or 16 bits, or scale their outlier channels first (AWQ, "
            "SmoothQuant)."
        ),
        min(1.0, top),
    )


QUANTIZATION_RISK = Rule(
    name="quantization_risk",
    title="Quantization at risk",
    about=(
        "4-bit rounding in groups of 64 loses 15 % of a matrix's rms (`--metrics full`); "
        "Gaussian weights lose 9 %"
    ),
    source="q4_nrmse; Dettmers et al. 2022, LLM.int8(), arXiv 2208.07339",
    find=_find,
)
