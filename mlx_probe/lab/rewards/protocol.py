"""What a reward is: one record in `REWARDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlx_probe.lab.rewards.attempt import Attempt

__all__ = ["Reward", "Score"]

# Given an attempt: what it is worth, from 0 to 1. A pure function.
Score = Callable[[Attempt], float]


@dataclass(frozen=True)
class Reward:
    """A reward.

    Attributes:
        about: What earns it, for the documentation.
        score: Computes it.
    """

    about: str
    score: Score
