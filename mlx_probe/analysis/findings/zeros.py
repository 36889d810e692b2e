"""Matrices that hold nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, names_by

__all__ = ["ZEROS"]


def _find(view: RunView) -> Iterator[Finding]:
    rows = np.flatnonzero(view.matrices & (view.numbers("rank") == 0))
    if not len(rows):
        return
    size = view.numbers("numel")[rows]
    worst = int(rows[np.argmax(size)])
    values = {"name": view.names[worst]}
    if len(rows) == 1:
        text = Text("{name} holds nothing but zeros.", values)
    else:
        text = Text(
            "{count} matrices hold nothing but zeros; {name} is the largest.",
            {"count": count(len(rows)), **values},
        )
    yield Finding(
        "high",
        text,
        names_by(view, rows, size),
        {"matrices": len(rows), "elements": int(size.sum())},
        Text("Check how the file was written: a trained layer is never 0; a new adapter's B is."),
        1.0,
    )


ZEROS = Rule(
    name="zeros",
    title="Zero matrices",
    about="every element of a matrix is 0",
    source="defined here",
    find=_find,
)
