"""Values that are not numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, names_by

__all__ = ["NONFINITE"]


def _find(view: RunView) -> Iterator[Finding]:
    nans, infs = (np.nan_to_num(view.numbers(name)) for name in ("nan_count", "inf_count"))
    bad = nans + infs
    rows = np.flatnonzero((bad > 0) & view.whole)
    if not len(rows):
        return
    worst = int(rows[np.argmax(bad[rows])])
    values = {
        "name": view.names[worst],
        "bad": count(bad[worst]),
        "nan": count(nans[worst]),
        "total": count(view.numbers("numel")[worst]),
    }
    if len(rows) == 1:
        text = Text(
            "{name} is not finite in {bad} of its {total} values, {nan} of them NaN.", values
        )
    else:
        text = Text(
            "{count} tensors hold values that are not finite; {name} has the most: {bad} of "
            "{total}, {nan} of them NaN.",
            {"count": count(len(rows)), **values},
        )
    yield Finding(
        "high",
        text,
        names_by(view, rows, bad[rows]),
        {"tensors": len(rows), "nan": int(nans[rows].sum()), "inf": int(infs[rows].sum())},
        Text(
            "Do not use these weights: restore the file, or take a checkpoint from before the "
            "loss diverged."
        ),
        1.0,
    )


NONFINITE = Rule(
    name="nonfinite",
    title="Non-finite values",
    about="a tensor holds NaN or infinities",
    source="IEEE 754-2019",
    find=_find,
)
