"""Attention heads that read or write nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import MOST_NAMES, count, figure
from mlx_probe.core.median import median

__all__ = ["DEAD_HEADS"]

# Norm of a circuit, as a share of the median of all heads', up to which it is dead.
_DEAD = 0.01


def _find(view: RunView) -> Iterator[Finding]:
    heads = view.sides.get("heads")
    if heads is None:
        return
    norm, circuits = heads.numbers("frobenius_norm"), heads.texts("circuit")
    share = np.full(len(heads), np.nan)
    for circuit in ("qk", "ov"):
        rows = np.flatnonzero(np.array([c == circuit for c in circuits], bool) & np.isfinite(norm))
        if len(rows) and (middle := float(median(norm[rows]))) > 0:
            share[rows] = norm[rows] / middle
    rows = np.flatnonzero(share <= _DEAD)
    if not len(rows):
        return
    layers, numbers = heads.numbers("layer_index"), heads.numbers("head_index")
    pairs = sorted({(int(layers[row]), int(numbers[row])) for row in rows})
    worst = int(rows[np.argmin(share[rows])])
    values = {
        "head": int(numbers[worst]),
        "layer": int(layers[worst]),
        "circuit": circuits[worst],
        "share": figure(float(share[worst])),
    }
    if len(pairs) == 1:
        text = Text(
            "Head {head} of layer {layer} is dead: the norm of its {circuit} circuit is {share} of "
            "the median head's.",
            values,
        )
    else:
        text = Text(
            "{count} attention heads are dead; the norm of the {circuit} circuit of head {head} in "
            "layer {layer} is {share} of the median head's.",
            {"count": count(len(pairs)), **values},
        )
    names = dict.fromkeys(
        str(heads.texts(name)[row])
        for row in rows
        for name in ("left_param_name", "right_param_name")
    )
    part = len(pairs) / max(1, len(heads) / 2)
    yield Finding(
        "medium",
        text,
        tuple(names)[:MOST_NAMES],
        {"heads": [list(pair) for pair in pairs[:MOST_NAMES]], "share": part},
        Text("Test the model without these heads: they can most likely be pruned."),
        float(min(1.0, 0.5 + part)),
    )


DEAD_HEADS = Rule(
    name="dead_heads",
    title="Dead attention heads",
    about=(
        "the norm of a head's qk or ov circuit is at most 1 % of the median of all heads "
        "(`--metrics full`)"
    ),
    source=(
        "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; Michel, Levy "
        "and Neubig 2019, arXiv 1905.10650"
    ),
    find=_find,
)
