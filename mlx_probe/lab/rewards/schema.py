"""Reward: whether the arguments fit the schema of the function."""

from __future__ import annotations

from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.function_calls.schema import argument_problems
from mlx_probe.lab.rewards.attempt import Attempt
from mlx_probe.lab.rewards.matching import matched_share
from mlx_probe.lab.rewards.protocol import Reward

__all__ = ["SCHEMA"]


def _score(attempt: Attempt) -> float:
    def fits(call: Call, wanted: Call) -> float:
        function = attempt.functions.get(call.name)
        return float(function is not None and not argument_problems(function, call.arguments))

    # By pairs with expected calls: valid arguments of any other function would be easy to earn.
    return matched_share(attempt, fits)


SCHEMA = Reward(
    about="calls of the expected functions whose arguments fit the function's JSON Schema; "
    "`true` for an integer does not",
    score=_score,
)
