"""Norms whose weights are all equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mlx_probe.analysis.findings.finding import Finding, Rule, Severity, Text
from mlx_probe.analysis.findings.norms import norm_weights
from mlx_probe.analysis.findings.view import Indices, RunView
from mlx_probe.analysis.findings.words import count, figure, names_by

__all__ = ["CONSTANT_NORMS"]

# Models whose norms multiply by 1 + weight: 0 changes nothing there.
_ZERO_CENTRED = ("gemma", "qwen3_next", "qwen3_5", "nemotron")


def _find(view: RunView) -> Iterator[Finding]:
    norms = norm_weights(view)
    rows = np.flatnonzero(norms & (view.numbers("min") == view.numbers("max")))
    total = int(norms.sum())
    if not len(rows):
        return
    values = view.numbers("mean")[rows]
    zeros = rows[values == 0]
    if len(zeros) and not _zero_is_neutral(view):
        yield _zero(view, zeros, total)
        rows = rows[values != 0]
    if len(rows):
        yield _constant(view, rows, total)


def _zero_is_neutral(view: RunView) -> bool:
    model = view.meta.get("model")
    architecture = model.get("architecture") if isinstance(model, Mapping) else None
    kind = architecture.get("model_type") if isinstance(architecture, Mapping) else None
    return str(kind or "").startswith(_ZERO_CENTRED)


def _zero(view: RunView, rows: Indices, total: int) -> Finding:
    values = {"name": view.names[int(rows[0])], "total": count(total)}
    if len(rows) == 1:
        text = Text("{name} holds nothing but zeros, so that everything it scales is lost.", values)
    else:
        text = Text(
            "{count} of {total} norms hold nothing but zeros, so that everything they scale is "
            "lost; {name} is the first.",
            {"count": count(len(rows)), **values},
        )
    return Finding(
        "high",
        text,
        names_by(view, rows, np.zeros(len(rows))),
        {"norms": len(rows), "of": total, "value": 0.0},
        Text(
            "Check whether the model multiplies by 1 + weight, where 0 is neutral; if it does "
            "not, the file was written wrong."
        ),
        1.0,
    )


def _constant(view: RunView, rows: Indices, total: int) -> Finding:
    mean = view.numbers("mean")
    first = int(rows[0])
    values = {"name": view.names[first], "value": figure(float(mean[first]))}
    severity: Severity = "medium"
    if len(rows) == total:
        # Models with fixed norms exist.
        severity = "note"
        text = Text(
            "All {total} norms are constant, {name} at {value}: they were not trained.",
            {"total": count(total), **values},
        )
    elif len(rows) == 1:
        text = Text(
            "{name} is constant at {value}, while the other {others} norms vary from channel to "
            "channel.",
            {"others": count(total - 1), **values},
        )
    else:
        text = Text(
            "{count} of {total} norms are constant, {name} at {value}; the others vary from "
            "channel to channel.",
            {"count": count(len(rows)), "total": count(total), **values},
        )
    return Finding(
        severity,
        text,
        names_by(view, rows, np.zeros(len(rows))),
        {"norms": len(rows), "of": total, "value": float(mean[first])},
        Text(
            "Check whether these norms were trained and loaded; a constant one can be folded into "
            "the next matrix."
        ),
        min(1.0, 0.5 + len(rows) / total / 2),
    )


CONSTANT_NORMS = Rule(
    name="constant_norms",
    title="Constant norms",
    about="all weights of a norm are equal; 0 is high unless the model is known to add 1",
    source=(
        "Ba, Kiros and Hinton 2016, arXiv 1607.06450; Zhang and Sennrich 2019, arXiv 1910.07467"
    ),
    find=_find,
)
