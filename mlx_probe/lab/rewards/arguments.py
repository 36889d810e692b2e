"""Reward: whether the arguments are the expected ones."""

from __future__ import annotations

from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.rewards.attempt import Attempt
from mlx_probe.lab.rewards.matching import matched_share
from mlx_probe.lab.rewards.protocol import Reward
from mlx_probe.lab.rewards.values import same_value

__all__ = ["ARGUMENTS"]


def _score(attempt: Attempt) -> float:
    return matched_share(attempt, _f1)


def _f1(call: Call, wanted: Call) -> float:
    """F1 of arguments with the expected name and value."""
    given, right = call.arguments, wanted.arguments
    if not given and not right:
        return 1.0
    equal = sum(name in right and same_value(value, right[name]) for name, value in given.items())
    return 2 * equal / (len(given) + len(right))


ARGUMENTS = Reward(
    about="F1 of the arguments of each call, with the expected names and values; arguments of "
    "another function earn nothing",
    score=_score,
)
