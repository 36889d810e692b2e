"""Weights that the run has no numbers for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, names_by, percent

__all__ = ["UNMEASURED"]

_STATES = ("skipped", "failed")


def _find(view: RunView) -> Iterator[Finding]:
    states = view.texts("status")
    rows = np.flatnonzero(np.array([state in _STATES for state in states], bool) & view.whole)
    if not len(rows):
        return
    nbytes = np.nan_to_num(view.numbers("nbytes"))
    share = float(nbytes[rows].sum() / max(1.0, nbytes[view.whole].sum()))
    first = int(rows[0])
    text = Text(
        "{count} of {total} tensors have no numbers, {share} of the bytes; {name} is one of them.",
        {
            "count": count(len(rows)),
            "total": count(int(view.whole.sum())),
            "share": percent(share),
            "name": view.names[first],
        },
    )
    reasons = sorted({str(view.texts("status_reason")[row]) for row in rows})[:5]
    yield Finding(
        "medium",
        text,
        names_by(view, rows, nbytes[rows]),
        {"tensors": len(rows), "share_of_bytes": share, "reasons": reasons},
        Text("Read status_reason in their rows; nothing here speaks about these tensors."),
        share,
    )


UNMEASURED = Rule(
    name="unmeasured",
    title="Tensors without numbers",
    about="a tensor was skipped, or an algorithm did not converge",
    source="defined here",
    find=_find,
)
