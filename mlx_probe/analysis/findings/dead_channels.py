"""Rows and columns of matrices that carry nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.finding import Finding, Rule, Severity, Text
from mlx_probe.analysis.findings.view import Mask, RunView
from mlx_probe.analysis.findings.words import count, names_by, percent

__all__ = ["DEAD_CHANNELS", "dead_on_short_side"]

# Shares of dead channels from which a finding is medium and high.
_MEDIUM, _HIGH = 0.001, 0.1
# Of fewer elements all can be small by chance.
_FEWEST = 16


class _Side(NamedTuple):
    """One axis of the matrices: columns of the run, and sentences for one and for several."""

    dead: str
    size: str
    elements: str
    one: str
    many: str


_ROWS = _Side(
    "dead_rows",
    "rows",
    "cols",
    "{name} has {dead} dead output channels of {total}: their rows are 0, or below 1 % of the "
    "others.",
    "{count} matrices have dead output channels; {name} has the most, {dead} of {total}: their "
    "rows are 0, or below 1 % of the others.",
)
_COLUMNS = _Side(
    "dead_columns",
    "cols",
    "rows",
    "{name} has {dead} dead input channels of {total}: their columns are 0, or below 1 % of the "
    "others.",
    "{count} matrices have dead input channels; {name} has the most, {dead} of {total}: their "
    "columns are 0, or below 1 % of the others.",
)


def dead_on_short_side(view: RunView) -> NDArray[np.float64]:
    """How much rank each matrix lacks for its dead channels; 0 where that is not known."""
    rows, cols = (np.nan_to_num(view.numbers(name)) for name in ("rows", "cols"))
    dead_rows, dead_columns = (
        np.nan_to_num(view.numbers(name)) for name in ("dead_rows", "dead_columns")
    )
    left = np.minimum(rows - dead_rows, cols - dead_columns)
    return np.minimum(rows, cols) - left


def _find(view: RunView) -> Iterator[Finding]:
    ours = view.matrices & (view.numbers("rank") > 0)
    # The rows of an embedding are tokens, about which another rule speaks.
    yield from _along(view, _ROWS, ours & ~view.is_vocabulary)
    yield from _along(view, _COLUMNS, ours)


def _along(view: RunView, side: _Side, among: Mask) -> Iterator[Finding]:
    dead, total = view.numbers(side.dead), view.numbers(side.size)
    several = view.numbers(side.elements) >= _FEWEST
    rows = np.flatnonzero(among & several & (dead > 0))
    if not len(rows):
        return
    share = dead[rows] / total[rows]
    worst = int(rows[np.argmax(share)])
    values = {
        "name": view.names[worst],
        "dead": count(dead[worst]),
        "total": count(total[worst]),
    }
    if len(rows) == 1:
        text = Text(side.one, values)
    else:
        text = Text(side.many, {"count": count(len(rows)), **values})
    top = float(share.max())
    severity: Severity = "high" if top >= _HIGH else "medium" if top >= _MEDIUM else "note"
    yield Finding(
        severity,
        text,
        names_by(view, rows, share),
        {
            "matrices": len(rows),
            side.dead: [int(dead[rows].min()), int(dead[rows].max())],
            "share": [float(share.min()), top],
        },
        Text(
            "Remove these channels, {share} of the largest case, from both matrices that share "
            "them, or find out whether they pad it to a round size.",
            {"share": percent(top)},
        ),
        top,
    )


DEAD_CHANNELS = Rule(
    name="dead_channels",
    title="Dead channels",
    about="rows or columns of a matrix hold nothing above 1 % of the median one (`--metrics full`)",
    source="dead_rows, dead_columns",
    find=_find,
)
