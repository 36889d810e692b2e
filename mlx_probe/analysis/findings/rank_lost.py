"""Matrices that use fewer directions than they have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.dead_channels import dead_on_short_side
from mlx_probe.analysis.findings.finding import Finding, Rule, Severity, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, names_by, number, percent, whole_number

__all__ = ["RANK_LOST", "lost_directions"]

# Share of the directions below the rounding noise of the file from which they count as lost: in
# trained matrices a few always are.
_NOISE = 0.02
# Shares from which a loss is medium and high.
_MEDIUM, _HIGH = 0.01, 0.1


def lost_directions(view: RunView) -> NDArray[np.float64]:
    """Directions that each matrix has lost; NaN for what is no matrix."""
    short = view.short
    lost = short - view.numbers("rank")
    below = short - view.numbers("noise_rank")
    return np.where(below >= np.maximum(_NOISE * short, 1), np.fmax(lost, below), lost)


def _find(view: RunView) -> Iterator[Finding]:
    lost, short = lost_directions(view), view.short
    # Dead channels explain as many directions, and another rule names them.
    rows = np.flatnonzero(
        view.matrices & (lost > dead_on_short_side(view)) & (view.numbers("rank") > 0)
    )
    if not len(rows):
        return
    share = lost[rows] / short[rows]
    worst = int(rows[np.argmax(share)])
    left = int(short[worst] - lost[worst])
    values = {
        "name": view.names[worst],
        "left": count(left),
        "full": count(short[worst]),
        "share": percent(float(share.max())),
    }
    if len(rows) == 1:
        text = Text(
            "{name} uses {left} of its {full} directions: the other {share} hold nothing but "
            "rounding.",
            values,
        )
    else:
        text = Text(
            "{count} matrices have lost rank; {name} uses {left} of its {full} directions, and "
            "the other {share} hold nothing but rounding.",
            {"count": count(len(rows)), **values},
        )
    top = float(share.max())
    # One direction of a square matrix can be that small by chance.
    several = top >= _MEDIUM and lost[rows].max() > 1
    severity: Severity = "high" if top >= _HIGH else "medium" if several else "note"
    evidence = {
        "matrices": len(rows),
        "rank": whole_number(view, "rank", worst),
        "noise_rank": whole_number(view, "noise_rank", worst),
        "full": int(short[worst]),
        "share_lost": [float(share.min()), top],
        "spectrum_error": number(view, "spectrum_error", worst),
    }
    yield Finding(
        severity,
        text,
        names_by(view, rows, share),
        evidence,
        Text(
            "Find out what removed the directions (pruning, a merge, an adapter of low rank); "
            "two factors of this rank would hold the same matrix."
        ),
        top,
    )


RANK_LOST = Rule(
    name="rank_lost",
    title="Rank lost",
    about=(
        "singular values are below rank_tol times the largest, or 2 % of them below the "
        "rounding noise of the file, and dead channels do not explain it"
    ),
    source="Golub and Van Loan 2013, Matrix Computations, section 5.4; noise_rank",
    find=_find,
)
