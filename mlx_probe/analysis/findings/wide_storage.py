"""Matrices in a wider type than their values need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, names_by, percent
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.units import format_size

__all__ = ["WIDE_STORAGE"]

# Shares of the model's bytes that can be saved, from which it is named and is more than a note.
_NAMED, _MEDIUM = 0.01, 0.1


def _find(view: RunView) -> Iterator[Finding]:
    stored, needed = view.texts("dtype"), view.texts("value_dtype")
    nbytes = np.nan_to_num(view.numbers("nbytes"))
    saved = np.zeros(len(view))
    # Constants fit everywhere; vectors are nothing beside the matrices.
    judged = view.whole & np.isfinite(view.short) & (view.numbers("std") > 0)
    for row in map(int, np.flatnonzero(judged)):
        wide, narrow = DTYPES.get(str(stored[row])), DTYPES.get(str(needed[row]))
        if wide and narrow and wide.kind == "float" and narrow.itemsize < wide.itemsize:
            saved[row] = nbytes[row] * (1 - narrow.itemsize / wide.itemsize)
    rows = np.flatnonzero(saved)
    share = float(saved.sum() / max(1.0, nbytes[view.whole].sum()))
    if share < _NAMED:
        return
    worst = int(rows[np.argmax(saved[rows])])
    values = {
        "name": view.names[worst],
        "stored": stored[worst],
        "needed": needed[worst],
        "saved": format_size(int(saved.sum())),
        "share": percent(share),
    }
    if len(view.unsampled):
        text = Text(
            "{count} matrices are stored wider than their values need, {name} as {stored} though "
            "{needed} holds it exactly: that would save {saved}, {share} of what was measured.",
            {"count": count(len(rows)), **values},
        )
    elif len(rows) == 1:
        text = Text(
            "{name} is stored as {stored}, though {needed} holds every value of it exactly: that "
            "would save {saved}, {share} of the model.",
            values,
        )
    else:
        text = Text(
            "{count} matrices are stored wider than their values need, {name} as {stored} though "
            "{needed} holds it exactly: that would save {saved}, {share} of the model.",
            {"count": count(len(rows)), **values},
        )
    yield Finding(
        "medium" if share >= _MEDIUM else "note",
        text,
        names_by(view, rows, saved[rows]),
        {"matrices": len(rows), "bytes": int(saved.sum()), "share": share},
        Text("Store them in the narrower type: nothing is lost, and they load faster."),
        share,
    )


WIDE_STORAGE = Rule(
    name="wide_storage",
    title="Stored wider than needed",
    about=(
        "a narrower float type holds every element of matrices exactly, and would save 1 % of "
        "the model's bytes"
    ),
    source="value_dtype; IEEE 754-2019",
    find=_find,
)
