"""Reward: whether the right functions are called."""

from __future__ import annotations

from mlx_probe.lab.rewards.attempt import Attempt
from mlx_probe.lab.rewards.matching import matched_share
from mlx_probe.lab.rewards.protocol import Reward

__all__ = ["FUNCTION_NAME"]


def _score(attempt: Attempt) -> float:
    return matched_share(attempt, lambda call, wanted: 1.0)


FUNCTION_NAME = Reward(
    about="calls of the expected functions, each as often as expected; superfluous and missing "
    "ones cost",
    score=_score,
)
