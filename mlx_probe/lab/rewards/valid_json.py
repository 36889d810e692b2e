"""Reward: whether the calls can be read."""

from __future__ import annotations

from mlx_probe.lab.rewards.attempt import Attempt
from mlx_probe.lab.rewards.protocol import Reward

__all__ = ["VALID_JSON"]


def _score(attempt: Attempt) -> float:
    if attempt.answer.malformed is not None:
        return 0.5 if attempt.answer.calls else 0.0
    return float(bool(attempt.answer.calls) or not attempt.expected)


VALID_JSON = Reward(
    about="calls that can be read: 1 if all can, 0.5 if only some can; where nothing is to be "
    "called, an answer without a broken call",
    score=_score,
)
