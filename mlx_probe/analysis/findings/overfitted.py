"""Matrices whose spectrum has a heavier tail than training makes by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, figure, names_by

__all__ = ["OVERFITTED"]

_LIMIT = 2.0


def _find(view: RunView) -> Iterator[Finding]:
    # Not from alpha_stderr where these are null: it takes xmin as known, and calls four matrices
    # of SmolLM2 overfitted whose resampled intervals reach beyond 2.
    alpha, low, high = (view.numbers(name) for name in ("alpha", "alpha_low", "alpha_high"))
    reliable = view.numbers("alpha_reliable") == 1
    # Tables of positions and types are no layers: their tails come from their few rows.
    rows = np.flatnonzero(view.matrices & reliable & (high < _LIMIT) & ~view.is_table)
    if not len(rows):
        return
    worst = int(rows[np.argmin(high[rows])])
    values = {
        "name": view.names[worst],
        "alpha": figure(float(alpha[worst])),
        "low": figure(float(low[worst])),
        "high": figure(float(high[worst])),
    }
    if len(rows) == 1:
        text = Text(
            "{name} looks overfitted: its alpha of {alpha}, 90 % interval {low} to {high}, lies "
            "below 2.",
            values,
        )
    else:
        text = Text(
            "{count} matrices look overfitted: their alpha lies below 2 with its whole 90 % "
            "interval; {name} has {alpha} ({low} to {high}).",
            {"count": count(len(rows)), **values},
        )
    yield Finding(
        "medium",
        text,
        names_by(view, rows, -high[rows]),
        {
            "matrices": len(rows),
            "alpha": float(alpha[worst]),
            "interval": [float(low[worst]), float(high[worst])],
            "tail": int(view.numbers("alpha_tail_count")[worst]),
        },
        Text(
            "Compare with an earlier checkpoint, and test the model on data it has not seen: the "
            "rule is a correlation over many models, no proof for one matrix."
        ),
        float(min(1.0, (_LIMIT - high[rows].min()) + len(rows) / 100)),
    )


OVERFITTED = Rule(
    name="overfitted",
    title="Looks overfitted",
    about=(
        "alpha is reliable, and the whole of its 90 % interval (--metrics full) lies below 2; not "
        "for tables of positions, types and tokens"
    ),
    source="Martin, Peng and Mahoney 2021, Nature Communications 12, 4122",
    find=_find,
)
