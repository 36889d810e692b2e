"""Tokens without a vector."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, names_by, percent

__all__ = ["DEAD_TOKENS"]

# Share of the vocabulary from which dead tokens are more than padding to a round size.
_MEDIUM = 0.01


def _dead(view: RunView) -> NDArray[np.float64]:
    """Dead tokens of each table, by its channels or else by its zeros."""
    rows, cols = view.numbers("rows"), view.numbers("cols")
    zeros = np.rint(view.numbers("zero_fraction") * view.numbers("numel"))
    # Exactly as many zeros as whole rows have: elsewhere trained floats are hardly ever 0.
    lines = np.where((zeros > 0) & (zeros % cols == 0) & (zeros < rows * cols), zeros / cols, 0)
    known = view.numbers("dead_rows")
    return np.where(np.isfinite(known), known, lines)


def _find(view: RunView) -> Iterator[Finding]:
    dead, total = _dead(view), view.numbers("rows")
    # A table without any vector is a finding of its own: `zeros`.
    rows = np.flatnonzero(view.whole & view.is_vocabulary & (dead > 0) & (dead < total))
    for row in map(int, rows):
        share = float(dead[row] / total[row])
        yield Finding(
            "medium" if share >= _MEDIUM else "note",
            Text(
                "{name} has no vector for {dead} of its {total} tokens ({share}): their rows are "
                "0, or below 1 % of the others.",
                {
                    "name": view.names[row],
                    "dead": count(dead[row]),
                    "total": count(total[row]),
                    "share": percent(share),
                },
            ),
            names_by(view, [row], np.ones(1)),
            {"dead": int(dead[row]), "tokens": int(total[row]), "share": share},
            Text(
                "Compare with the tokenizer's size: rows beyond it only pad the table; tokens "
                "inside it were never trained."
            ),
            share,
        )


DEAD_TOKENS = Rule(
    name="dead_tokens",
    title="Dead tokens",
    about=(
        "rows of an embedding or an output head hold nothing above 1 % of the median one; "
        "without `--metrics full`, exactly as many zeros as whole rows"
    ),
    source="dead_rows; Land and Bartolo 2024, arXiv 2405.05417",
    find=_find,
)
