"""Experts of a mixture that do what another one does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.experts import Experts, layer_number
from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import MOST_NAMES, count

__all__ = ["DOUBLE_EXPERTS"]


def _find(view: RunView) -> Iterator[Finding]:
    known = Experts(view)
    rows = np.flatnonzero(known.double)
    if not len(rows):
        return
    pairs = known.pairs(rows)
    first = int(rows[0])
    share = len(pairs) / max(1, len(known.pairs(np.flatnonzero(np.isfinite(known.experts)))))
    values = {
        "expert": int(known.experts[first]),
        "other": int(known.twins[first]),
        "layer": layer_number(known.layers[first]),
    }
    if len(pairs) == 1:
        text = Text(
            "Expert {expert} of layer {layer} does what expert {other} does: their matrices are "
            "equal up to scale.",
            values,
        )
    else:
        text = Text(
            "{count} experts do what another one of their layer does, such as expert {expert} of "
            "layer {layer} and expert {other}: their matrices are equal up to scale.",
            {"count": count(len(pairs)), **values},
        )
    yield Finding(
        "medium",
        text,
        known.of(rows),
        {
            "experts": [list(pair) for pair in pairs[:MOST_NAMES]],
            "of": [int(known.twins[row]) for row in rows[:MOST_NAMES]],
            "share": share,
        },
        Text(
            "Expect this right after dense layers were copied into experts; after training, merge "
            "the two and their rows of the router."
        ),
        min(1.0, 0.5 + share),
    )


DOUBLE_EXPERTS = Rule(
    name="double_experts",
    title="Double experts",
    about=(
        "the matrix of an expert equals an earlier one's of its layer up to scale (cosine above "
        "1 - 1e-6, `--metrics full`), or has its bytes"
    ),
    source="duplicate_of; Komatsuzaki et al. 2023, Sparse Upcycling, arXiv 2212.05055",
    find=_find,
)
