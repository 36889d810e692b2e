"""Which matrices got a heavy tail while the model learned, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.finding import Text
from mlx_probe.analysis.findings.words import MOST_NAMES, count, figure
from mlx_probe.analysis.training.history import History
from mlx_probe.analysis.training.statement import Statement

__all__ = ["RULE", "tail_statements"]

# Between these lie the exponents of well-trained matrices (Martin, Peng and Mahoney 2021, Nature
# Communications 12, 4122); below the range a matrix looks overfitted.
_HEAVIEST, _LIGHTEST = 2.0, 6.0

RULE = Text(
    "A matrix got a heavy tail at step s if from the snapshot of step s on its power-law fit "
    "is reliable with an alpha of at most {lightest}, and in the first snapshot it was not.",
    {"lightest": figure(_LIGHTEST)},
)


def tail_statements(history: History) -> Iterator[Statement]:
    """Which matrices got heavy tails, and which came into the range of overfitted ones."""
    alpha = history.series("alpha")
    reliable = history.series("alpha_reliable") == 1
    heavy = reliable & (alpha <= _LIGHTEST)
    since = [_since(row) for row in heavy]
    rows = [at for at, first in enumerate(since) if first]
    if rows:
        # The heaviest tail first.
        rows.sort(key=lambda at: alpha[at, -1])
        worst = rows[0]
        step = history.steps[since[worst] or 0]
        values = {
            "count": count(len(rows)), "name": history.names[worst], "step": count(step),
            "alpha": figure(float(alpha[worst, -1])),
        }  # fmt: skip
        text = Text(
            "{count} matrices got a heavy tail, the heaviest {name}: its alpha is {alpha}, and its "
            "fit reliable since step {step}.",
            values,
        )
        if len(rows) == 1:
            text = Text(
                "{name} got a heavy tail: its alpha is {alpha}, and its fit reliable since step "
                "{step}.",
                values,
            )
        steps = {history.names[at]: history.steps[since[at] or 0] for at in rows[:MOST_NAMES]}
        yield Statement(
            "heavy_tails",
            text,
            tuple(steps),
            {"matrices": len(rows), "alpha": float(alpha[worst, -1]), "steps": steps},
        )
    below_before = reliable[:, 0] & (alpha[:, 0] < _HEAVIEST)
    below = [
        at
        for at in range(len(history.names))
        if reliable[at, -1] and alpha[at, -1] < _HEAVIEST and not below_before[at]
    ]
    if below:
        names = tuple(history.names[at] for at in sorted(below, key=lambda at: alpha[at, -1]))
        least = min(float(alpha[at, -1]) for at in below)
        values = {"count": count(len(below)), "name": names[0], "alpha": figure(least)}
        text = Text(
            "The alpha of {count} matrices ends below 2, where they look overfitted; {name} has "
            "{alpha}.",
            values,
        )
        if len(below) == 1:
            text = Text(
                "The alpha of {name} ends below 2, at {alpha}: it looks overfitted.", values
            )
        evidence = {"matrices": len(below), "alpha": least}
        yield Statement("overfitted", text, names[:MOST_NAMES], evidence)


def _since(row: NDArray[np.bool_]) -> int | None:
    """Where the last unbroken stretch of true values begins; None without one, 0 from the start."""
    if not row[-1]:
        return None
    false = np.flatnonzero(~row)
    return int(false[-1]) + 1 if len(false) else 0
