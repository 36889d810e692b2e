"""Matrices that are singular in the arithmetic that most programs use."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.rank_lost import lost_directions
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, figure, names_by, whole_number

__all__ = ["NEAR_SINGULAR"]


def _find(view: RunView) -> Iterator[Finding]:
    full = view.numbers("rank") == view.short
    rows = np.flatnonzero(view.matrices & full & (view.numbers("rank_numpy") < view.short))
    # What rounding of the file hides is the other rule's.
    rows = rows[~(lost_directions(view)[rows] > 0)]
    if not len(rows):
        return
    condition = view.numbers("condition_number")
    worst = int(rows[np.nanargmax(condition[rows])])
    values = {
        "name": view.names[worst],
        "ratio": figure(1 / condition[worst]),
        "kinds": ", ".join(dict.fromkeys(view.kinds[rows])),
    }
    if len(rows) == 1:
        text = Text(
            "{name} is close to losing rank: its smallest singular value is {ratio} of the "
            "largest, below what float32 resolves at this size.",
            values,
        )
    else:
        text = Text(
            "{count} matrices ({kinds}) are close to losing rank: the smallest singular value of "
            "{name} is {ratio} of its largest, below what float32 resolves at this size.",
            {"count": count(len(rows)), **values},
        )
    yield Finding(
        "note",
        text,
        names_by(view, rows, condition[rows]),
        {
            "matrices": len(rows),
            "condition_number": [float(condition[rows].min()), float(condition[worst])],
            "rank_numpy": whole_number(view, "rank_numpy", worst),
            "full": int(view.short[worst]),
        },
        Text("Do not invert these matrices in float32; nothing else follows from it."),
        0.1,
    )


NEAR_SINGULAR = Rule(
    name="near_singular",
    title="Close to losing rank",
    about="the rank is full, and below it by numpy.linalg.matrix_rank's rule for float32",
    source="numpy.linalg.matrix_rank; Golub and Van Loan 2013, section 5.4",
    find=_find,
)
