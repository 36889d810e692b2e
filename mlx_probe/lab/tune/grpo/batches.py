"""The answers of a round as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.tune.batches import Batch, make_batch
from mlx_probe.lab.tune.example import Example

if TYPE_CHECKING:
    from mlx_probe.lab.tune.grpo.rollouts import Rollout

__all__ = ["AnswerBatch", "answer_batches"]


@dataclass(frozen=True)
class AnswerBatch:
    """A micro-batch of answers.

    Attributes:
        rollouts: Its rows.
        batch: Their tokens; ``weights`` are those of the loss.
        advantages: Of each learned token's answer, (n,) float32; 0 where the batch is filled up.
        reference: See `Rollout`, (n,); None where it is not wanted.
        old: See `Rollout`, (n,); None where it is not wanted.
    """

    rollouts: tuple[Rollout, ...]
    batch: Batch
    advantages: NDArray[np.float32]
    reference: NDArray[np.float32] | None
    old: NDArray[np.float32] | None

    def to_device(self) -> dict[str, mx.array]:
        """The arrays, as the loss takes them."""
        more = {"advantages": self.advantages, "reference": self.reference, "old": self.old}
        arrays = {name: mx.array(each) for name, each in more.items() if each is not None}
        return {**self.batch.to_device(), **arrays}

    def split(self, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Values of the learned tokens, (n,), by answer."""
        ends = np.cumsum([len(each.drawn.tokens) for each in self.rollouts])
        return np.split(values[: ends[-1]], ends[:-1])


def answer_batches(
    rollouts: Sequence[Rollout], rows: int, multiple: int, weight: Callable[[int], float]
) -> list[AnswerBatch]:
    """Answers in micro-batches, in their order.

    Args:
        rollouts: Of a round.
        rows: Answers in a micro-batch.
        multiple: Rows are filled up to a multiple of so many tokens.
        weight: Given an answer's tokens, what each of them weighs.
    """
    return [
        _batch(rollouts[first : first + rows], multiple, weight)
        for first in range(0, len(rollouts), rows)
    ]


def _batch(
    rollouts: Sequence[Rollout], multiple: int, weight: Callable[[int], float]
) -> AnswerBatch:
    batch = make_batch([_example(rollout) for rollout in rollouts], multiple)
    lengths = [len(rollout.drawn.tokens) for rollout in rollouts]

    def filled(parts: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
        given = [part for part in parts if part is not None]
        if len(given) < len(parts):
            return None
        array = np.zeros(len(batch.positions), np.float32)
        array[: sum(lengths)] = np.concatenate(given)
        return array

    def of_answers(values: Sequence[float]) -> NDArray[np.float32]:
        array = np.zeros(len(batch.positions), np.float32)
        array[: sum(lengths)] = np.repeat(np.array(values, np.float32), lengths)
        return array

    return AnswerBatch(
        tuple(rollouts),
        Batch(
            batch.tokens,
            batch.positions,
            batch.targets,
            of_answers([weight(length) for length in lengths]),
            batch.read,
        ),
        of_answers([rollout.advantage for rollout in rollouts]),
        filled([rollout.reference for rollout in rollouts]),
        filled([rollout.old for rollout in rollouts]),
    )


def _example(rollout: Rollout) -> Example:
    prompt, answer = rollout.prompt.tokens, rollout.drawn.tokens
    learned = np.arange(len(prompt) + len(answer)) >= len(prompt)
    return Example(rollout.prompt.id, np.concatenate([prompt, answer]), learned)
