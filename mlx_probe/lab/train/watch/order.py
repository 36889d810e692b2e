"""Which snapshot is measured next."""

from __future__ import annotations

import math
from collections.abc import Collection

__all__ = ["next_to_measure"]


def next_to_measure(unmeasured: Collection[int], measured: Collection[int]) -> int:
    """The snapshot that adds most to what is known.

    Who watches a run wants to see where it is now: a snapshot that is newer than all measured
    ones comes first, the newest of them. With time left, the gaps are filled: of the others the
    one whose nearest measured neighbour is farthest on a logarithmic axis, the newest of several.

    Args:
        unmeasured: Steps of the snapshots to choose from, at least one.
        measured: Steps of those that are measured.
    """
    newest = max(unmeasured)
    if newest > max(measured, default=-1):
        return newest
    return max(unmeasured, key=lambda step: (_gap(step, measured), step))


def _gap(step: int, measured: Collection[int]) -> float:
    """Distance to the nearest measured step, in natural logarithms of step + 1."""
    return min(abs(math.log((step + 1) / (other + 1))) for other in measured)
