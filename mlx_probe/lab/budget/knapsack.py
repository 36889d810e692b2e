"""One option of each class, with the least value in all, under a limit on the weights.

This is the multiple-choice knapsack problem. Lagrangian relaxation gives a lower bound and a
first solution; dynamic programming over the few options that the bound leaves open gives the
optimum. Source: Kellerer, Pferschy, Pisinger 2004, "Knapsack Problems", chapter 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["InfeasibleError", "Solution", "solve"]

_Floats = NDArray[np.float64]
# Partial solutions that the dynamic programming keeps; beyond it the bound stays open.
MOST_STATES = 1 << 18
# Products of partial solutions and options that are looked at, for each that may be kept.
_PRODUCTS = 64
# Relative rounding errors of the sums.
_EPSILON = 1e-12


class InfeasibleError(Exception):
    """No choice is within the limit.

    Attributes:
        least: The least weight that there is.
    """

    def __init__(self, least: float) -> None:
        super().__init__(f"the least weight is {least}")
        self.least = least


@dataclass(frozen=True)
class Solution:
    """One option of each class.

    Attributes:
        picks: Index of the option of each class.
        value: Sum of their values.
        weight: Sum of their weights, at most the limit.
        bound: No choice within the limit has less value than this; ``value`` if it is optimal.
    """

    picks: tuple[int, ...]
    value: float
    weight: float
    bound: float


def solve(
    values: Sequence[_Floats], weights: Sequence[_Floats], limit: float, states: int = MOST_STATES
) -> Solution:
    """Choose one option of each class.

    Args:
        values: Of the options of each class, at least one; to be small in all.
        weights: The same; to be at most ``limit`` in all.
        limit: The limit.
        states: Partial solutions to keep while the gap is closed; 0 to leave it.

    Returns:
        A choice within the limit and a bound on the best one. Among equal ones the first found,
        which is the same at every call.

    Raises:
        InfeasibleError: No choice is within the limit.
    """
    least = sum(float(each.min()) for each in weights)
    if least > limit:
        raise InfeasibleError(least)
    classes = [_Class(v, w) for v, w in zip(values, weights, strict=True)]
    price = _price(classes, limit)
    picks = [each.at(price) for each in classes]
    bound = sum(each.cost(price) for each in classes) - price * limit
    best = _improved(classes, picks, limit)
    value = _sum(values, best)
    if value > bound and states:
        closed = _close(classes, price, limit, value, bound, states)
        if closed is not None:
            better, bound = closed
            best = better or best
            value = _sum(values, best)
    weight = _sum(weights, best)
    return Solution(tuple(best), value, weight, min(bound, value))


def _sum(numbers: Sequence[_Floats], picks: Sequence[int]) -> float:
    return sum(float(each[pick]) for each, pick in zip(numbers, picks, strict=True))


class _Class:
    """The options of one class that no other one of it is better than, by growing weight.

    Attributes:
        number: Their numbers among all options of the class.
        values: Falling.
        weights: Growing.
        hull: Which of them are on the lower convex hull, by growing weight.
    """

    def __init__(self, values: _Floats, weights: _Floats) -> None:
        order = np.lexsort((values, weights))
        falling = np.minimum.accumulate(values[order])
        kept = np.ones(len(order), bool)
        kept[1:] = falling[1:] < falling[:-1]
        self.number = order[kept]
        self.values, self.weights = values[self.number], weights[self.number]
        self.hull = _hull(self.values, self.weights)
        v, w = self.values[self.hull], self.weights[self.hull]
        # Value that each step along the hull saves for a unit of weight: falling.
        self.slopes = (v[:-1] - v[1:]) / (w[1:] - w[:-1])

    def at(self, price: float) -> int:
        """The lightest option of the least value + price x weight."""
        return int(self.hull[np.searchsorted(-self.slopes, -price)])

    def cost(self, price: float) -> float:
        """The least value + price x weight."""
        return float((self.values[self.hull] + price * self.weights[self.hull]).min())


def _hull(values: _Floats, weights: _Floats) -> NDArray[np.intp]:
    """Lower convex hull of points of growing weight and falling value."""
    hull: list[int] = []
    for i in range(len(values)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            rise = (values[b] - values[a]) * (weights[i] - weights[a])
            if rise >= (values[i] - values[a]) * (weights[b] - weights[a]):
                hull.pop()
            else:
                break
        hull.append(i)
    return np.array(hull)


def _price(classes: Sequence[_Class], limit: float) -> float:
    """The value of a unit of weight at which the relaxation's bound is best.

    The steps of all hulls by falling slope: the price is the slope of the first one that does not
    fit, 0 if all fit.
    """
    slopes = np.concatenate([each.slopes for each in classes])
    steps = np.concatenate([np.diff(each.weights[each.hull]) for each in classes])
    order = np.argsort(-slopes, kind="stable")
    room = limit - sum(float(each.weights[0]) for each in classes)
    over = np.flatnonzero(np.cumsum(steps[order]) > room)
    return float(slopes[order[over[0]]]) if len(over) else 0.0


def _improved(classes: Sequence[_Class], picks: list[int], limit: float) -> list[int]:
    """Numbers of the options, after steps of any class that still fit, the best first.

    At the best price the lightest options are within the limit: the step that is not taken there
    is the first that does not fit.
    """
    room = limit - sum(float(c.weights[p]) for c, p in zip(classes, picks, strict=True))
    picks = list(picks)
    gains: list[tuple[float, int, int]] = []
    for index, (each, pick) in enumerate(zip(classes, picks, strict=True)):
        last = int(np.searchsorted(each.weights, each.weights[pick] + room, "right")) - 1
        if last > pick:
            gains.append((float(each.values[last] - each.values[pick]), index, last))
    for _, index, _ in sorted(gains):
        each, pick = classes[index], picks[index]
        last = int(np.searchsorted(each.weights, each.weights[pick] + room, "right")) - 1
        if last > pick:
            room -= float(each.weights[last] - each.weights[pick])
            picks[index] = last
    return [int(c.number[p]) for c, p in zip(classes, picks, strict=True)]


def _close(
    classes: Sequence[_Class],
    price: float,
    limit: float,
    value: float,
    bound: float,
    most: int,
) -> tuple[list[int] | None, float] | None:
    """The optimum, by dynamic programming over what the bound leaves open.

    An option's penalty is what value + price x weight exceeds the least of its class by. A choice
    better than ``value`` has penalties, and price x unused weight, below the gap together.

    Returns:
        The options if a better choice than ``value`` exists, else None, and the optimum; or None
        if there are too many partial solutions.
    """
    gap = value - bound
    scale = abs(value) + price * limit
    slack = gap + _EPSILON * scale
    base, cores = 0.0, []
    for each in classes:
        costs = each.values + price * each.weights
        penalties = costs - costs.min()
        open_ = np.flatnonzero(penalties < slack)
        base += float(each.weights[open_].min())
        cores.append((open_, penalties[open_], each.weights[open_] - each.weights[open_].min()))
    room = limit - base
    # Few options first: states stay few for long.
    order = sorted(range(len(cores)), key=lambda i: (len(cores[i][0]), i))
    reach = sum(float(cores[i][2].max()) for i in order)
    used, penalty = np.zeros(1), np.zeros(1)
    trace: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for index in order:
        _, penalties, extra = cores[index]
        reach -= float(extra.max())
        if len(used) * len(extra) > _PRODUCTS * most:
            return None
        total_used = (used[:, None] + extra[None, :]).reshape(-1)
        total_penalty = (penalty[:, None] + penalties[None, :]).reshape(-1)
        unused = np.maximum(0.0, room - total_used - reach)
        kept = np.flatnonzero((total_used <= room) & (total_penalty + price * unused < slack))
        if not len(kept):
            return None, value
        # What is as heavy as another and of no less value cannot become better than it.
        worth = total_penalty[kept] - price * total_used[kept]
        by_weight = np.lexsort((worth, total_used[kept]))
        falling = np.minimum.accumulate(worth[by_weight])
        front = np.ones(len(kept), bool)
        front[1:] = falling[1:] < falling[:-1]
        kept = kept[by_weight[front]]
        if len(kept) > most:
            return None
        used, penalty = total_used[kept], total_penalty[kept]
        trace.append((kept // len(extra), kept % len(extra)))
    best = int(np.argmin(penalty - price * used))
    picks = [0] * len(classes)
    for index, (before, option) in zip(reversed(order), reversed(trace), strict=True):
        picks[index] = int(classes[index].number[cores[index][0][option[best]]])
        best = int(before[best])
    found = sum(
        float(each.values[np.flatnonzero(each.number == pick)[0]])
        for each, pick in zip(classes, picks, strict=True)
    )
    return (picks, found) if found < value else (None, value)
