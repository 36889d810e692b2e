"""Evaluation: what the most likely answers to held-out prompts are worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_probe.lab.evaluate.paired import paired_record
from mlx_probe.lab.tune.grpo.prompts import Prompt
from mlx_probe.lab.tune.grpo.rollouts import Player, Rollout
from mlx_probe.lab.tune.grpo.store import RolloutStore

__all__ = ["RewardEvaluation", "RewardEvaluator", "reward_record"]


@dataclass(frozen=True)
class RewardEvaluation:
    """What an evaluation finds.

    Attributes:
        reward: Mean over the prompts, from 0 to 1.
    """

    reward: float

    @property
    def loss(self) -> float:
        """What is to become small."""
        return -self.reward

    @property
    def values(self) -> dict[str, float]:
        """For metrics.jsonl."""
        return {"val_reward": self.reward}

    def is_better(self, best: Mapping[str, Any]) -> bool:
        """Whether it is better than the values of another one."""
        return self.reward > float(best["val_reward"])


@dataclass(frozen=True)
class RewardEvaluator:
    """Evaluates a model as `Evaluator` does, by rewards.

    Attributes:
        player: Answers and judges.
        store: Keeps the answers.
        step: Steps that are made.
    """

    player: Player
    store: RolloutStore
    step: Callable[[], int]

    def __call__(
        self, prompts: Iterable[Prompt], before_each: Callable[[], None]
    ) -> RewardEvaluation:
        """Evaluate.

        Args:
            prompts: Held-out ones.
            before_each: Called before each token; may raise to end the evaluation.
        """
        rollouts: list[Rollout] = []
        for prompt in prompts:
            # Without a temperature nothing is drawn, and the seed means nothing.
            rollouts += self.player.play(prompt, 1, 0.0, [0], False, before_each)
        self.store.write(self.step(), "valid", rollouts)
        rewards = [each.judgement.total for each in rollouts]
        return RewardEvaluation(math.fsum(rewards) / len(rewards))


def reward_record(store: RolloutStore, last: int, seed: int) -> dict[str, Any]:
    """The metadata's key "reward": the held-out prompts before and after.

    Args:
        store: Has the evaluations of step 0 and of the last one.
        last: The last step that was evaluated.
        seed: Of the resamples behind the interval.

    Returns:
        "items", "first" (mean before), "second" (after), "difference" with its paired bootstrap
        "interval" at 95 %.
    """
    record = paired_record(store.rewards(0), store.rewards(last), is_share=False, seed=seed)
    return {key: record[key] for key in ("items", "first", "second", "difference", "interval")}
