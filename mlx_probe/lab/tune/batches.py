"""Batches of examples of about the same length, in an order that the seed decides.

Rows are padded at their end: no token sees what comes after it, and what is padded is not learned.
Examples are not packed into one row, so that none can attend to another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.lab.tune.example import Example

__all__ = ["Batch", "BatchOrder", "longest_batch", "make_batch", "training_batches"]

# Batches' worth of examples that are sorted by length together: with more of them less is padded,
# and the order is less random.
POOL = 32
# Numbers of learned tokens are rounded up to a multiple, so that few shapes have to be compiled.
LEARNED_MULTIPLE = 32


@dataclass(frozen=True)
class Batch:
    """A micro-batch.

    Attributes:
        tokens: (B, T), what the model reads; the last token of each row is a target only.
        positions: (n,), where in the flattened ``tokens`` a learned token comes next.
        targets: (n,), these tokens.
        weights: (n,), 1; and 0 where the arrays are filled up.
        read: Tokens that are no padding.
    """

    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]
    read: int

    @property
    def learned(self) -> int:
        """Tokens that are learned."""
        return int(self.weights.sum())

    def to_device(self) -> dict[str, mx.array]:
        """The arrays, as the loss takes them."""
        return {
            name: mx.array(getattr(self, name))
            for name in ("tokens", "positions", "targets", "weights")
        }


def make_batch(examples: Sequence[Example], multiple: int) -> Batch:
    """Examples in rows.

    Args:
        examples: At least one.
        multiple: Rows are filled up to a multiple of so many tokens.
    """
    longest = max(len(example.tokens) for example in examples) - 1
    width = -(-longest // multiple) * multiple
    tokens = np.zeros((len(examples), width), np.int32)
    positions, targets = [], []
    for row, example in enumerate(examples):
        inputs = example.tokens[:-1]
        tokens[row, : len(inputs)] = inputs
        where = np.flatnonzero(example.learned[1:])
        positions.append(row * width + where)
        targets.append(example.tokens[1:][where])
    count = sum(map(len, targets))
    room = -(-count // LEARNED_MULTIPLE) * LEARNED_MULTIPLE

    def filled(parts: Any, dtype: Any) -> NDArray[Any]:
        array = np.zeros(room, dtype)
        array[:count] = np.concatenate(parts)
        return array

    weights = np.zeros(room, np.float32)
    weights[:count] = 1
    return Batch(
        tokens,
        filled(positions, np.int32),
        filled(targets, np.int32),
        weights,
        sum(len(example.tokens) - 1 for example in examples),
    )


class BatchOrder:
    """Which examples each position of a run has: a function of the seed and the position alone.

    In each epoch every example is in one batch. Examples are shuffled, sorted by length within
    pools of so many batches, cut into batches, and the batches are shuffled.

    Args:
        lengths: Tokens of each example.
        batch: Examples in a batch; the last one of an epoch may have fewer.
        seed: Of the order.

    Attributes:
        per_epoch: Batches in an epoch.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths, self._batch, self._seed = np.asarray(lengths), batch, seed
        self.per_epoch = -(-len(lengths) // batch)
        self._epoch: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def at(self, position: int) -> NDArray[np.int64]:
        """Numbers of the examples of a position, from 0 without an end."""
        epoch, index = divmod(position, self.per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._of_epoch(epoch))
        return self._epoch[1][index]

    def _of_epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
        order = generator.permutation(len(self._lengths))
        batches = []
        for first in range(0, len(order), self._batch * POOL):
            pool = order[first : first + self._batch * POOL]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += [pool[i : i + self._batch] for i in range(0, len(pool), self._batch)]
        return [batches[i] for i in generator.permutation(len(batches))]


def training_batches(
    examples: Sequence[Example], order: BatchOrder, start: int, multiple: int
) -> Iterator[Batch]:
    """The batches of a run from a position on, without an end."""
    position = start
    while True:
        yield make_batch([examples[i] for i in order.at(position)], multiple)
        position += 1


def validation_batches(
    examples: Sequence[Example], batch: int, multiple: int, tokens: int = 0
) -> list[Batch]:
    """The batches of an evaluation, sorted by length.

    Args:
        examples: All of the split.
        batch: Examples in a batch.
        multiple: See `make_batch`.
        tokens: Learned tokens after which no further example is taken; 0 for all.
    """
    taken, count = [], 0
    for example in examples:
        taken.append(example)
        count += example.answer_tokens
        if tokens and count >= tokens:
            break
    taken.sort(key=lambda example: len(example.tokens))
    return [make_batch(taken[i : i + batch], multiple) for i in range(0, len(taken), batch)]


def longest_batch(examples: Sequence[Example], batch: int, multiple: int) -> Batch:
    """The batch that takes most memory: of the longest examples."""
    longest = sorted(examples, key=lambda example: len(example.tokens), reverse=True)[:batch]
    return make_batch(longest, multiple)
