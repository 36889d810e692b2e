"""Reward: whether the calls give the expected results."""

from __future__ import annotations

from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.rewards.attempt import Attempt
from mlx_probe.lab.rewards.matching import matched_share
from mlx_probe.lab.rewards.protocol import Reward
from mlx_probe.lab.rewards.values import same_value

__all__ = ["EXECUTION"]


def _score(attempt: Attempt) -> float:
    run = attempt.run

    def same_result(call: Call, wanted: Call) -> float:
        if run is None:
            return 0.0
        right = run(wanted)
        if right.kind != "ok":  # not registered: no answer to this question can earn it
            return 0.0
        given = run(call)
        return float(given.kind == "ok" and same_value(given.value, right.value))

    return matched_share(attempt, same_result)


EXECUTION = Reward(
    about="calls of the expected functions that give the expected results; 0 where the "
    "functions are not registered",
    score=_score,
)
