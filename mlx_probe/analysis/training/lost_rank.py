"""Which matrices lost rank while the model learned, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlx_probe.analysis.findings.finding import Text
from mlx_probe.analysis.findings.words import MOST_NAMES, count, figure
from mlx_probe.analysis.training.history import History
from mlx_probe.analysis.training.statement import Statement

__all__ = ["RULE", "rank_statements"]

# An effective rank that fell to this share of what it was.
_HALF = 0.5

RULE = Text(
    "A matrix lost rank if its numerical rank in the last snapshot is below that in the first "
    "one, or its effective rank at most half of it."
)


def rank_statements(history: History) -> Iterator[Statement]:
    """Which matrices lost numerical rank, and which half of their effective rank."""
    yield from _numerical(history)
    yield from _effective(history)


def _numerical(history: History) -> Iterator[Statement]:
    rank = history.series("rank")
    rows = np.flatnonzero(rank[:, -1] < rank[:, 0])
    if len(rows):
        rows = rows[np.argsort(rank[rows, -1] / rank[rows, 0], kind="stable")]
        worst = int(rows[0])
        lower = int(np.flatnonzero(rank[worst] < rank[worst, 0])[0])
        values = {
            "count": count(len(rows)), "name": history.names[worst],
            "before": count(rank[worst, 0]), "after": count(rank[worst, -1]),
            "step": count(history.steps[lower]),
        }  # fmt: skip
        text = Text(
            "{count} matrices lost rank, {name} most: from {before} to {after}, first seen at step "
            "{step}.",
            values,
        )
        if len(rows) == 1:
            text = Text(
                "{name} lost rank: from {before} to {after}, first seen at step {step}.", values
            )
        names = tuple(history.names[int(at)] for at in rows[:MOST_NAMES])
        ranks = {
            history.names[int(at)]: [int(rank[at, 0]), int(rank[at, -1])]
            for at in rows[:MOST_NAMES]
        }
        evidence = {"matrices": len(rows), "step": history.steps[lower], "ranks": ranks}
        yield Statement("rank", text, names, evidence)


def _effective(history: History) -> Iterator[Statement]:
    effective = history.series("effective_rank")
    with np.errstate(invalid="ignore", divide="ignore"):
        share = effective[:, -1] / effective[:, 0]
    rows = np.flatnonzero(share <= _HALF)
    if len(rows):
        rows = rows[np.argsort(share[rows], kind="stable")]
        worst = int(rows[0])
        values = {
            "count": count(len(rows)), "name": history.names[worst],
            "before": figure(float(effective[worst, 0])),
            "after": figure(float(effective[worst, -1])),
        }  # fmt: skip
        text = Text(
            "The effective rank of {count} matrices fell to half or less, that of {name} from "
            "{before} to {after}.",
            values,
        )
        if len(rows) == 1:
            text = Text("The effective rank of {name} fell from {before} to {after}.", values)
        names = tuple(history.names[int(at)] for at in rows[:MOST_NAMES])
        evidence = {"matrices": len(rows), "share": float(share[worst])}
        yield Statement("effective_rank", text, names, evidence)
