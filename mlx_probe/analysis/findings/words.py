"""Numbers and lists as they stand in a sentence, the same in every language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlx_probe.analysis.findings.view import RunView

__all__ = [
    "MOST_NAMES",
    "count",
    "figure",
    "names_by",
    "number",
    "percent",
    "ranges",
    "whole_number",
]

# Names of tensors in one finding; a finding over a whole mixture would repeat its table.
MOST_NAMES = 200


def figure(value: float) -> str:
    """A measured number with three digits: "0.0213", "8.4", "1,240"."""
    if abs(value) >= 999.5:
        return f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.2e}"
    return f"{value:.3g}"


def count(value: float) -> str:
    """A whole number: "49,152"."""
    return f"{int(value):,}"


def percent(share: float) -> str:
    """A share of one: "25 %", "0.3 %"."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def ranges(numbers: Iterable[float]) -> str:
    """Whole numbers with their runs joined: "0, 3-7, 12"."""
    runs: list[list[int]] = []
    for number in sorted({int(n) for n in numbers if np.isfinite(n)}):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def names_by(
    view: RunView, rows: Sequence[int] | NDArray[np.intp], size: NDArray[np.float64]
) -> tuple[str, ...]:
    """Names of rows, the largest first.

    Args:
        view: The run.
        rows: Row numbers.
        size: What to sort by, shape (len(rows),).
    """
    order = np.argsort(-np.asarray(size), kind="stable")[:MOST_NAMES]
    return tuple(view.names[int(rows[at])] for at in order)


def number(view: RunView, name: str, row: int) -> float | None:
    """A value of a column for the evidence; None for null."""
    value = float(view.numbers(name)[row])
    return value if np.isfinite(value) else None


def whole_number(view: RunView, name: str, row: int) -> int | None:
    """A count of a column for the evidence; None for null."""
    value = number(view, name, row)
    return None if value is None else int(value)
