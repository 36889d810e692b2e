"""Which call of an answer stands for which call that was wanted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.rewards.values import same_value

__all__ = ["equal_arguments", "is_same_call", "pairs", "same_calls"]

# Beyond, the best assignment takes too long, and the next best pair is taken each time.
_EXACT = 10


def is_same_call(one: Call, other: Call) -> bool:
    """Whether name and arguments are equal."""
    return one.name == other.name and same_value(dict(one.arguments), dict(other.arguments))


def same_calls(made: Sequence[Call], wanted: Sequence[Call]) -> bool:
    """Whether the calls are the same ones, each as often, in any order."""
    rest = list(wanted)
    for call in made:
        index = next((i for i, each in enumerate(rest) if is_same_call(call, each)), None)
        if index is None:
            return False
        del rest[index]
    return not rest


def equal_arguments(made: Call, wanted: Call) -> int:
    """How many arguments are equal; none of another function."""
    if made.name != wanted.name:
        return 0
    return sum(
        name in wanted.arguments and same_value(value, wanted.arguments[name])
        for name, value in made.arguments.items()
    )


def pairs(made: Sequence[Call], wanted: Sequence[Call]) -> list[tuple[int, int]]:
    """Numbers of the calls that belong together: same function, most arguments equal.

    Each call is in one pair at most. The assignment is the best one, not the first that comes:
    with two calls of one function the order of the answer must not matter.
    """
    by_name: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for number, call in enumerate(made):
        by_name[call.name][0].append(number)
    for number, call in enumerate(wanted):
        by_name[call.name][1].append(number)
    found: list[tuple[int, int]] = []
    for left, right in by_name.values():
        scores = [[equal_arguments(made[i], wanted[j]) for j in right] for i in left]
        assign = _best if max(len(left), len(right)) <= _EXACT else _greedy
        found += [(left[i], right[j]) for i, j in assign(scores)]
    return sorted(found)


def _best(scores: list[list[int]]) -> list[tuple[int, int]]:
    """The assignment with the highest sum, and of these the one with most pairs."""
    columns = len(scores[0]) if scores else 0

    @cache
    def rest(row: int, used: int) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
        if row == len(scores):
            return (0, 0), ()
        best = rest(row + 1, used)
        for column in range(columns):
            if not used >> column & 1:
                (total, count), chosen = rest(row + 1, used | 1 << column)
                sums = (total + scores[row][column], count + 1)
                if sums > best[0]:
                    best = sums, ((row, column), *chosen)
        return best

    return list(rest(0, 0)[1])


def _greedy(scores: list[list[int]]) -> list[tuple[int, int]]:
    order = sorted(
        ((score, -i, -j) for i, row in enumerate(scores) for j, score in enumerate(row)),
        reverse=True,
    )
    rows: set[int] = set()
    columns: set[int] = set()
    chosen = []
    for _, i, j in order:
        if -i not in rows and -j not in columns:
            rows.add(-i)
            columns.add(-j)
            chosen.append((-i, -j))
    return chosen
