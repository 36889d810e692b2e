"""Several rewards as one: weights by name, own rewards by ``module:function``."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.rewards import REWARDS
from mlx_probe.lab.rewards.attempt import Attempt
from mlx_probe.lab.rewards.protocol import Score

__all__ = ["WEIGHTS", "Judge", "Judgement", "load_reward", "make_judge"]

# A call that is right as a whole earns 1.
WEIGHTS: Mapping[str, float] = {
    "valid_json": 0.2,
    "function_name": 0.2,
    "arguments": 0.4,
    "schema": 0.2,
    "execution": 0.0,
}


@dataclass(frozen=True)
class Judgement:
    """What an answer is worth.

    Attributes:
        total: From 0 to 1: the mean of the rewards by their weights.
        parts: Each reward by name, those of weight 0 left out.
    """

    total: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Judge:
    """Rewards with weights; see `make_judge`."""

    rewards: Mapping[str, tuple[float, Score]]

    def judge(self, attempt: Attempt) -> Judgement:
        """What an answer is worth.

        Raises:
            ConfigError: An own reward is no number from 0 to 1, or raised.
        """
        parts = {name: _value(name, score, attempt) for name, (_, score) in self.rewards.items()}
        weights = {name: weight for name, (weight, _) in self.rewards.items()}
        total = math.fsum(weights[name] * value for name, value in parts.items())
        return Judgement(total / math.fsum(weights.values()), parts)


def make_judge(weights: Mapping[str, float] | None = None) -> Judge:
    """Rewards with weights.

    Args:
        weights: By a key of `REWARDS` or ``module:function``; 0 leaves a reward out, and so does
            its absence. None for `WEIGHTS`.

    Raises:
        ConfigError: A name is no reward, a weight is negative or no number, or all are 0.
    """
    chosen = WEIGHTS if weights is None else weights
    for name, weight in chosen.items():
        is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight < math.inf:
            raise ConfigError(f"the weight of {name} cannot be {weight!r}", "Give 0 or more")
    rewards = {name: (float(weight), load_reward(name)) for name, weight in chosen.items()}
    used = {name: pair for name, pair in rewards.items() if pair[0]}
    if not used:
        raise ConfigError("no reward has a weight", f"Weigh one of {', '.join(REWARDS)}")
    return Judge(used)


def load_reward(name: str) -> Score:
    """The function of a reward.

    Args:
        name: A key of `REWARDS`, or ``module:function`` of a function that takes an `Attempt`
            and returns a number from 0 to 1.

    Raises:
        ConfigError: There is none.
    """
    if name in REWARDS:
        return REWARDS[name].score
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise ConfigError(
            f"no reward is called {name!r}",
            f"Choose among {', '.join(REWARDS)}, or write module:function",
        )
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"the reward {name} cannot be imported: {error}",
            "Write module:function, with the module's folder in PYTHONPATH",
        ) from error
    if not callable(found):
        raise ConfigError(f"the reward {name} is no function", "Name a function of the module")
    score: Score = found
    return score


def _value(name: str, score: Score, attempt: Attempt) -> float:
    try:
        value: Any = score(attempt)
    except Exception as error:
        if name in REWARDS:
            raise
        raise ConfigError(
            f"the reward {name} failed: {type(error).__name__}: {error}", "Correct the function"
        ) from error
    is_number = isinstance(value, (int, float))
    if not is_number or not 0 <= value <= 1:
        raise ConfigError(f"the reward {name} gave {value!r}", "Return a number from 0 to 1")
    return float(value)
