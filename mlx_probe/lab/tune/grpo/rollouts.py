"""Answers that the model draws, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.generate.group import Drawn, draw_group
from mlx_probe.lab.rewards.attempt import make_attempt
from mlx_probe.lab.rewards.outcome import Outcome
from mlx_probe.lab.rewards.total import Judge, Judgement
from mlx_probe.lab.tune.grpo.advantages import group_advantages

if TYPE_CHECKING:
    from mlx_probe.lab.tune.grpo.prompts import Prompt

__all__ = ["Player", "Rollout"]


@dataclass(frozen=True)
class Rollout:
    """An answer to a prompt.

    Attributes:
        prompt: What was asked.
        drawn: The answer's tokens.
        text: The answer, without the token that ended it.
        judgement: What it is worth.
        advantage: How much more than its group; 0 for an answer without a group.
        reference: Logarithms of its tokens' probabilities by the model before tuning, (n,)
            float32; None where they are not wanted.
        old: The same before the first update that learns from it; None where it is learned from
            once.
    """

    prompt: Prompt
    drawn: Drawn
    text: str
    judgement: Judgement
    advantage: float = 0.0
    reference: NDArray[np.float32] | None = None
    old: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Player:
    """Draws answers and judges them.

    Attributes:
        model: The weights.
        tokenizer: Of the model.
        stops: Tokens that end an answer.
        judge: Says what an answer is worth.
        run: Executes calls; None where nothing may be executed.
        count: Tokens of an answer, at most.
    """

    model: Any
    tokenizer: Tokenizer
    stops: frozenset[int]
    judge: Judge
    run: Callable[[Call], Outcome] | None
    count: int

    def play(
        self,
        prompt: Prompt,
        group: int,
        temperature: float,
        seed: Sequence[int],
        divided: bool,
        before_each: Callable[[], None],
    ) -> list[Rollout]:
        """Answers to a prompt, with their advantages.

        Args:
            prompt: What is asked.
            group: Answers.
            temperature: 0 takes the most likely tokens.
            seed: Of the draws.
            divided: See `group_advantages`.
            before_each: Called before each token; may raise.

        Raises:
            CheckpointError: The model's logits are no numbers.
            ConfigError: An own reward failed.
        """
        was_training = self.model.training
        self.model.eval()
        try:
            answers = draw_group(
                self.model, prompt.tokens.tolist(), group, self.count, temperature, seed,
                self.stops, before_each,
            )  # fmt: skip
        finally:
            self.model.train(was_training)
        texts = [self._text(drawn) for drawn in answers]
        judged = [self._judged(prompt, text) for text in texts]
        advantages = [0.0] * group
        if group > 1:
            advantages = group_advantages([each.total for each in judged], divided).tolist()
        parts = zip(answers, texts, judged, advantages, strict=True)
        return [Rollout(prompt, *part) for part in parts]

    def _text(self, drawn: Drawn) -> str:
        tokens = drawn.tokens.tolist()
        return self.tokenizer.decode(tokens[:-1] if drawn.is_finished else tokens)

    def _judged(self, prompt: Prompt, text: str) -> Judgement:
        question = prompt.question
        return self.judge.judge(make_attempt(text, question.tools, question.truth, self.run))
