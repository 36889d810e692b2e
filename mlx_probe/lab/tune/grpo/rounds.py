"""Round after round: prompts are answered, answers judged, and learned from.

Which prompts a round has, and which random numbers draw its answers, follow from the seed and the
round's number alone. A run that goes on in the middle of a round reads its answers back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import mlx.core as mx
import numpy as np

from mlx_probe.lab.tune.batches import BatchOrder
from mlx_probe.lab.tune.config import TuneRecipe
from mlx_probe.lab.tune.grpo.batches import AnswerBatch, answer_batches
from mlx_probe.lab.tune.grpo.prompts import Prompt
from mlx_probe.lab.tune.grpo.rollouts import Player, Rollout
from mlx_probe.lab.tune.grpo.scoring import Scorer
from mlx_probe.lab.tune.grpo.store import RolloutStore, mean_divergence

__all__ = ["Round", "Rounds"]


@dataclass(frozen=True)
class Round:
    """The answers that a step learns from.

    Attributes:
        batches: In micro-batches.
    """

    batches: Sequence[AnswerBatch]

    @property
    def rollouts(self) -> list[Rollout]:
        """All answers."""
        return [each for batch in self.batches for each in batch.rollouts]

    @property
    def read(self) -> int:
        """Tokens of prompts and answers."""
        return sum(batch.batch.read for batch in self.batches)

    def metrics(self, group: int) -> dict[str, float]:
        """What a line of metrics.jsonl says of it.

        Args:
            group: Answers to a prompt.
        """
        rollouts = self.rollouts
        rewards = np.array([each.judgement.total for each in rollouts]).reshape(-1, group)
        values = {
            "reward": float(rewards.mean()),
            "reward_std": float(rewards.std(-1, ddof=1).mean()),
            "answer_tokens": float(np.mean([len(each.drawn.tokens) for each in rollouts])),
        }
        kl = [mean_divergence(each) for each in rollouts]
        if known := [each for each in kl if each is not None]:
            values["kl"] = float(np.mean(known))
        return values


@dataclass(frozen=True)
class Rounds:
    """Makes rounds.

    Attributes:
        recipe: How many answers, and how they weigh.
        prompts: To learn from.
        player: Draws and judges.
        scorer: Probabilities of drawn answers.
        reference: What is learned, as it was before tuning.
        store: Keeps the rollouts.
        drawing: Times the drawing.
        wait: Called before each token; may raise to end the run.
    """

    recipe: TuneRecipe
    prompts: Sequence[Prompt]
    player: Player
    scorer: Scorer
    reference: Mapping[str, mx.array]
    store: RolloutStore
    drawing: Callable[[], AbstractContextManager[object]]
    wait: Callable[[], None]

    def after(self, step: int) -> Iterator[Round]:
        """The round of each step after one, without an end; the model learns in between.

        Args:
            step: Steps that are made.
        """
        grpo, train = self.recipe.grpo, self.recipe.train
        order = BatchOrder([len(each.tokens) for each in self.prompts], grpo.prompts, train.seed)
        current = None
        while True:
            number, update = divmod(step, grpo.updates)
            if current is None or update == 0:
                asked = [self.prompts[i] for i in order.at(number)]
                current = self._made(number, asked) if update == 0 else self._read(number, asked)
            yield current
            step += 1

    def _made(self, number: int, asked: Sequence[Prompt]) -> Round:
        """A new round, which is on the disk."""
        grpo, seed = self.recipe.grpo, self.recipe.train.seed
        rollouts: list[Rollout] = []
        with self.drawing():
            for index, prompt in enumerate(asked):
                rollouts += self.player.play(
                    prompt, grpo.group, grpo.temperature, [seed, number, index],
                    grpo.normalization == "grpo", self.wait,
                )  # fmt: skip
        scored = [each for batch in self._batches(rollouts) for each in self._scored(batch)]
        self.store.write(self._first(number), "train", scored)
        return Round(self._batches(scored))

    def _read(self, number: int, asked: Sequence[Prompt]) -> Round:
        prompts = [prompt for prompt in asked for _ in range(self.recipe.grpo.group)]
        return Round(self._batches(self.store.read(self._first(number), prompts)))

    def _first(self, number: int) -> int:
        """The first step that learns from a round."""
        return number * self.recipe.grpo.updates + 1

    def _scored(self, batch: AnswerBatch) -> list[Rollout]:
        grpo, rollouts = self.recipe.grpo, list(batch.rollouts)
        if grpo.kl:
            values = batch.split(self.scorer(batch, self.reference))
            rollouts = [
                replace(each, reference=own) for each, own in zip(rollouts, values, strict=True)
            ]
        if grpo.updates > 1:
            values = batch.split(self.scorer(batch))
            rollouts = [replace(each, old=own) for each, own in zip(rollouts, values, strict=True)]
        return rollouts

    def _batches(self, rollouts: Sequence[Rollout]) -> list[AnswerBatch]:
        grpo = self.recipe.grpo

        def weight(tokens: int) -> float:
            return 1 / (tokens if grpo.normalization == "grpo" else grpo.answer_tokens)

        return answer_batches(rollouts, self.recipe.train.batch, self.recipe.data.bucket, weight)
