"""Which call of an answer is meant by which expected one."""

from __future__ import annotations

from collections.abc import Callable

from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.rewards.attempt import Attempt

__all__ = ["matched_share"]

# Calls of an answer that are looked at: a model that repeats itself writes hundreds.
_MOST = 64


def matched_share(attempt: Attempt, worth: Callable[[Call, Call], float]) -> float:
    """How well the calls of an answer match the expected ones, from 0 to 1.

    Each expected call is paired with at most one call of the same function, the best pairs first;
    a call of another function earns nothing. The sum is divided by the larger number of calls, so
    that superfluous calls cost as much as missing ones. Nothing called where nothing is expected
    is 1.

    Args:
        attempt: The answer.
        worth: What a call is worth for an expected one of the same function, from 0 to 1.
    """
    calls, expected = attempt.answer.calls, attempt.expected
    if not calls and not expected:
        return 1.0 if attempt.answer.malformed is None else 0.0
    pairs = [
        (worth(call, wanted), -i, -j)
        for i, call in enumerate(calls[:_MOST])
        for j, wanted in enumerate(expected)
        if call.name == wanted.name
    ]
    total, used, met = 0.0, set(), set()
    for value, i, j in sorted(pairs, reverse=True):
        if i not in used and j not in met:
            used.add(i)
            met.add(j)
            total += value
    return total / max(len(calls), len(expected))
