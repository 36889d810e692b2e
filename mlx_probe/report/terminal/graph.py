"""Time series as blocks of a terminal."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["bars", "buckets"]

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def buckets(values: Sequence[float | None], width: int, least: int) -> list[float | None]:
    """Means of equally many values each, so that they fit.

    Buckets begin at multiples of their size, counted from the first value: one more value
    changes the last bucket and no other.

    Args:
        values: In order; None is unknown.
        width: Most buckets.
        least: Number of values, from the last one back, that are shown if there are as many.

    Returns:
        At most ``width`` means; None where nothing is known.
    """
    size = max(1, -(-min(len(values), least) // width))
    first = max(0, -(-len(values) // size) - width)
    means: list[float | None] = []
    for start in range(first * size, len(values), size):
        known = [value for value in values[start : start + size] if value is not None]
        means.append(sum(known) / len(known) if known else None)
    return means


def bars(
    values: Sequence[float | None], width: int, height: int = 1, top: float | None = None
) -> list[str]:
    """A bar for each value, the last one at the right.

    Args:
        values: At most ``width``, not negative; None leaves a gap.
        width: Columns.
        height: Lines.
        top: What fills the whole height; None for the largest value.

    Returns:
        Lines of text, the upper one first.
    """
    top = top or max((value for value in values if value is not None), default=0.0)
    lines = []
    for line in range(height - 1, -1, -1):
        cells = []
        for value in values:
            eighths = 0 if value is None or not top else round(8 * height * min(value / top, 1.0))
            # A value above 0 is never drawn as nothing.
            if value and not eighths:
                eighths = 1
            cells.append(_EIGHTHS[min(max(eighths - 8 * line, 0), 8)])
        lines.append("".join(cells).rjust(width))
    return lines
