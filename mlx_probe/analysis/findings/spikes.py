"""Matrices that one direction dominates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.deviation import Deviations, deviations
from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import Indices, Mask, RunView
from mlx_probe.analysis.findings.words import count, figure, names_by, number, percent

__all__ = ["SPIKES"]

# Shares of one direction from which a matrix is named: beside others of its kind, of which it has
# so many times the median, and alone; of the latter twice the median is enough.
_AMONG, _FACTOR, _ALONE, _TWICE = 0.05, 4.0, 0.4, 2.0
# A share from which it is more than a note.
_MEDIUM = 0.2
# Of fewer directions one always has a large share.
_FEWEST = 16


def _find(view: RunView) -> Iterator[Finding]:
    share = view.numbers("top1_energy")
    ours = view.matrices & (view.short >= _FEWEST)
    away = deviations(view, share, ours)
    far = away.beyond(_FACTOR) & (share >= _AMONG) & (away.ratio > 1)
    among = far | ((share >= _ALONE) & (away.ratio >= _TWICE))
    alone = (share >= _ALONE) & ~(away.members > 1)
    # The mean vector of a table of embeddings is such a direction in many models.
    for tables in (False, True):
        rows = np.flatnonzero(ours & (among | alone) & (view.is_table == tables))
        if len(rows):
            yield _finding(view, rows, away, in_kind=among)


def _finding(view: RunView, rows: Indices, away: Deviations, in_kind: Mask) -> Finding:
    share = view.numbers("top1_energy")
    worst = int(rows[np.argmax(share[rows])])
    edge, norm = view.numbers("mp_edge"), view.numbers("spectral_norm")
    values = {
        "name": view.names[worst],
        "share": percent(float(share[worst])),
        "edges": figure(float(norm[worst] / edge[worst])),
        "median": percent(float(away.median[worst])),
        "members": count(away.members[worst]),
        "kind": view.kinds[worst],
    }
    if len(rows) == 1 and in_kind[worst]:
        text = Text(
            "{name} has {share} of its energy in one direction, where the median of the {members} "
            "{kind} has {median}; its largest singular value is {edges} times the edge of noise.",
            values,
        )
    elif len(rows) == 1:
        text = Text(
            "{name} has {share} of its energy in one direction: its largest singular value is "
            "{edges} times the edge of noise.",
            values,
        )
    else:
        values |= {
            "count": count(len(rows)),
            "kinds": ", ".join(dict.fromkeys(view.kinds[rows])),
            "low": percent(float(share[rows].min())),
        }
        text = Text(
            "{count} matrices ({kinds}) have {low} to {share} of their energy in one direction; "
            "{name} most, with a largest singular value of {edges} times the edge of noise, where "
            "the median of the {members} {kind} has {median} in one direction."
            if in_kind[worst]
            else "{count} matrices ({kinds}) have {low} to {share} of their energy in one "
            "direction; the largest singular value of {name} is {edges} times the edge of noise.",
            values,
        )
    top = float(share[worst])
    is_table = bool(view.is_table[worst])
    remedy = (
        Text("Center the embedding before you compare tokens: the direction is mostly their mean.")
        if is_table
        else Text(
            "Look at the direction in the report's spectrum and in the neighbouring layers: an "
            "attention sink, or a channel of large activations, makes such a one."
        )
    )
    return Finding(
        "medium" if top >= _MEDIUM and not is_table else "note",
        text,
        names_by(view, rows, share[rows]),
        {
            "matrices": len(rows),
            "top1_energy": [float(share[rows].min()), top],
            "spectral_norm": number(view, "spectral_norm", worst),
            "mp_edge": number(view, "mp_edge", worst),
            "spikes": number(view, "spikes", worst),
            "stable_rank": number(view, "stable_rank", worst),
        },
        remedy,
        top,
    )


SPIKES = Rule(
    name="spikes",
    title="Dominant directions",
    about=(
        "the largest singular value holds 5 % of the energy and four times the median share "
        "of its kind, more than 6 robust standard deviations away; or 40 %, and twice that median "
        "where there is one"
    ),
    source="mp_edge; Baik, Ben Arous and Peche 2005; Gavish and Donoho 2014",
    find=_find,
)
