"""What happened to which tensor at which step: change points and trends of all columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.series.changes import change_points, penalty
from mlx_probe.analysis.series.curves import Curves
from mlx_probe.analysis.series.drift import drift_of
from mlx_probe.analysis.series.followed import Direction, Followed
from mlx_probe.analysis.series.trend import adjusted, trend_of

__all__ = ["FEWEST", "Change", "Tendency", "changes_in", "tendencies_in"]

# Fewer checkpoints do not say how much a column usually drifts.
FEWEST = 5
# Chance of one false change in a whole series, were its drift normal; share of false trends.
_FALSE = 0.01


@dataclass(frozen=True)
class Change:
    """A change of one column of one tensor.

    Attributes:
        tensor: Name; see `label_of`.
        layer: Its layer; None outside the layers.
        column: The column.
        previous: The last checkpoint before the change.
        step: The first one after it.
        until: The last one of a change that goes on over several checkpoints; otherwise ``step``.
        before: Value at ``previous``.
        after: Value at ``until``.
        size: Change on the column's scale: natural logarithm of the ratio for most.
        score: Standard deviations of the usual drift.
    """

    tensor: str
    layer: int | None
    column: str
    previous: int
    step: int
    until: int
    before: float
    after: float
    size: float
    score: float

    @property
    def direction(self) -> Direction:
        """Which way it goes."""
        return "falls" if self.size < 0 else "rises"

    def as_json(self) -> dict[str, Any]:
        """The change for programs."""
        return {
            "tensor": self.tensor, "layer": self.layer, "column": self.column,
            "previous": self.previous, "step": self.step, "until": self.until,
            "before": self.before, "after": self.after, "score": round(self.score, 2),
        }  # fmt: skip


@dataclass(frozen=True)
class Tendency:
    """A column of one tensor that goes one way over the whole series.

    Attributes:
        tensor: Name.
        layer: Its layer.
        column: The column.
        first: Value at the first checkpoint that has one.
        last: The same at the last one.
        slope: Median slope for one step, on the column's scale.
        tau: Kendall's rank correlation with the step.
        q: Share of false ones among all trends called at this one's level.
        size: The slope times the steps of the series.
    """

    tensor: str
    layer: int | None
    column: str
    first: float
    last: float
    slope: float
    tau: float
    q: float
    size: float

    @property
    def direction(self) -> Direction:
        """Which way it goes."""
        return "falls" if self.size < 0 else "rises"

    def as_json(self) -> dict[str, Any]:
        """The trend for programs."""
        return {
            "tensor": self.tensor, "layer": self.layer, "column": self.column,
            "first": self.first, "last": self.last, "slope": self.slope,
            "tau": round(self.tau, 4), "q": float(f"{self.q:.3g}"),
        }  # fmt: skip


def changes_in(curves: Curves, columns: Sequence[Followed], least: float) -> list[Change]:
    """The changes of all tensors and columns, by step.

    Args:
        curves: The series; with fewer than `FEWEST` steps nothing is said.
        columns: What is followed.
        least: Smallest change that is said, as a share: .25 for a quarter more, or a fifth less.
    """
    if len(curves.steps) < FEWEST:
        return []
    searched = []
    for one in columns:
        values = curves.column(one.column)
        scaled = one.scaled(values)
        rows = np.flatnonzero((~np.isnan(scaled)).sum(axis=1) >= FEWEST)
        searched.append((one, rows, values[rows], scaled[rows]))
    intervals = sum(len(rows) for _, rows, _, _ in searched) * (len(curves.steps) - 1)
    price = penalty(intervals, _FALSE)
    found = []
    for one, rows, values, scaled in searched:
        drift = drift_of(scaled, curves.times, one.least_of(values))
        for row, own, on_scale, changes in zip(
            rows, values, scaled, change_points(scaled, drift, price), strict=True
        ):
            found += _said(curves, one, int(row), (own, on_scale), changes)
    kept = [change for change in found if abs(change.size) >= math.log1p(least)]
    order = {one.column: at for at, one in enumerate(columns)}
    return sorted(kept, key=lambda each: (each.step, order[each.column], -abs(each.size)))


def _said(
    curves: Curves,
    one: Followed,
    row: int,
    series: tuple[NDArray[np.float64], NDArray[np.float64]],
    changes: Sequence[tuple[int, float]],
) -> list[Change]:
    """The changes of one series; those of neighbouring checkpoints in one direction are one."""
    values, scaled = series
    known = np.flatnonzero(~np.isnan(scaled))
    before_of = dict(zip(known[1:].tolist(), known[:-1].tolist(), strict=True))
    merged: list[list[tuple[int, float]]] = []
    for place, score in changes:
        last = merged[-1][-1][0] if merged else -1
        up = scaled[place] > scaled[before_of[place]]
        if before_of[place] == last and up == (scaled[last] > scaled[before_of[last]]):
            merged[-1].append((place, score))
        else:
            merged.append([(place, score)])
    said = []
    for group in merged:
        place, until = group[0][0], group[-1][0]
        previous = before_of[place]
        said.append(
            Change(
                tensor=curves.names[row],
                layer=curves.layers[row],
                column=one.column,
                previous=curves.steps[previous],
                step=curves.steps[place],
                until=curves.steps[until],
                before=float(values[previous]),
                after=float(values[until]),
                size=float(scaled[until] - scaled[previous]),
                score=max(score for _, score in group),
            )
        )
    return said


def tendencies_in(curves: Curves, columns: Sequence[Followed], least: float) -> list[Tendency]:
    """The trends of all tensors and columns, the largest of each column first.

    Args:
        curves: The series.
        columns: What is followed.
        least: As for `changes_in`, over the whole series.
    """
    if len(curves.steps) < FEWEST:
        return []
    span = curves.times[-1] - curves.times[0]
    tested = []
    for one in columns:
        values = curves.column(one.column)
        for row, (own, scaled) in enumerate(zip(values, one.scaled(values), strict=True)):
            trend = trend_of(scaled, curves.times)
            if trend is not None:
                tested.append((one.column, row, own[np.isfinite(scaled)], trend))
    shares = adjusted(np.asarray([trend.p for *_, trend in tested]))
    found = [
        Tendency(
            curves.names[row], curves.layers[row], column, float(own[0]), float(own[-1]),
            trend.slope, trend.tau, float(q), trend.slope * span,
        )
        for (column, row, own, trend), q in zip(tested, shares, strict=True)
        if q <= _FALSE and abs(trend.slope * span) >= math.log1p(least)
    ]  # fmt: skip
    order = {one.column: at for at, one in enumerate(columns)}
    return sorted(found, key=lambda each: (order[each.column], -abs(each.size)))
