"""Experts of a mixture that do nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.experts import Experts
from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import MOST_NAMES, count, figure, ranges

__all__ = ["DEAD_EXPERTS"]

# Share of the experts from which a mixture has lost a part of itself.
_HIGH = 0.1


def _find(view: RunView) -> Iterator[Finding]:
    known = Experts(view)
    rows = np.flatnonzero(known.dead)
    if not len(rows):
        return
    pairs = known.pairs(rows)
    layer = pairs[0][0]
    share = len(pairs) / max(1, len(known.pairs(np.flatnonzero(np.isfinite(known.experts)))))
    values = {
        "experts": ranges(expert for at, expert in pairs if at == layer),
        "layer": layer,
        "name": known.names[int(rows[0])],
        "ratio": figure(float(known.ratio[rows].max())),
    }
    if len(pairs) == 1:
        text = Text(
            "Expert {experts} of layer {layer} is dead: the norm of {name} is {ratio} of the "
            "median expert's.",
            values,
        )
    else:
        text = Text(
            "{count} experts are dead, among them {experts} of layer {layer}: their norms are at "
            "most {ratio} of the median expert's.",
            {"count": count(len(pairs)), **values},
        )
    yield Finding(
        "high" if share >= _HIGH else "medium",
        text,
        known.of(rows),
        {"experts": [list(pair) for pair in pairs[:MOST_NAMES]], "share": share},
        Text(
            "Prune these experts and their rows of the router, or look whether the router ever "
            "chose them."
        ),
        min(1.0, 0.5 + share),
    )


DEAD_EXPERTS = Rule(
    name="dead_experts",
    title="Dead experts",
    about="the norm of an expert's matrix is at most 1 % of the median of its block's",
    source="norm_ratio; Shazeer et al. 2017, arXiv 1701.06538",
    find=_find,
)
