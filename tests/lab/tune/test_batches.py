"""Every example once in an epoch, of about the same length, in the order of the seed alone."""

import numpy as np
import pytest

from mlx_probe.lab.tune.batches import (
    BatchOrder,
    longest_batch,
    make_batch,
    training_batches,
    validation_batches,
)
from mlx_probe.lab.tune.example import Example


def example(length, answers=2):
    learned = np.zeros(length, bool)
    learned[-answers:] = True
    return Example(str(length), np.arange(1, length + 1, dtype=np.int32), learned)


@pytest.mark.parametrize(("count", "batch"), [(1, 4), (7, 3), (300, 4)])
def test_an_epoch_has_each_example_once(count, batch):
    order = BatchOrder(range(count), batch, seed=3)
    for epoch in range(2):
        positions = range(epoch * order.per_epoch, (epoch + 1) * order.per_epoch)
        seen = np.concatenate([order.at(position) for position in positions])
        assert sorted(seen) == list(range(count))


def test_a_position_has_its_examples_whatever_was_asked_before():
    lengths = list(np.random.default_rng(0).integers(5, 90, 50))
    straight = [BatchOrder(lengths, 4, 1).at(position).tolist() for position in range(40)]
    order = BatchOrder(lengths, 4, 1)
    assert [order.at(position).tolist() for position in reversed(range(40))] == straight[::-1]
    assert [BatchOrder(lengths, 4, 2).at(0).tolist()] != straight[:1]


def test_batches_have_examples_of_about_the_same_length():
    lengths = np.random.default_rng(0).integers(5, 400, 256)
    order = BatchOrder(lengths, 4, 0)
    spread = [np.ptp(lengths[order.at(position)]) for position in range(order.per_epoch)]
    assert np.median(spread) < 20


def test_rows_are_filled_up_at_their_ends():
    batch = make_batch([example(4), example(9)], multiple=8)
    assert batch.tokens.tolist() == [[1, 2, 3, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8]]
    assert batch.positions[:4].tolist() == [1, 2, 8 + 6, 8 + 7]
    assert batch.targets[:4].tolist() == [3, 4, 8, 9]
    assert (batch.learned, len(batch.weights), batch.read) == (4, 32, 11)


def test_the_first_token_is_predicted_by_nothing():
    batch = make_batch([example(3, answers=3)], multiple=1)
    assert batch.targets[: batch.learned].tolist() == [2, 3]


def test_batches_go_on_from_a_position():
    examples = [example(length) for length in range(3, 20)]
    order = BatchOrder([len(e.tokens) for e in examples], 4, 0)
    batches = training_batches(examples, order, 0, 1)
    straight = [next(batches).tokens.tolist() for _ in range(12)]
    later = training_batches(examples, order, 7, 1)
    assert [next(later).tokens.tolist() for _ in range(5)] == straight[7:]


def test_an_evaluation_takes_as_many_answers_as_it_is_told():
    examples = [example(length) for length in (9, 3, 5, 7)]
    assert sum(b.learned for b in validation_batches(examples, 2, 1)) == 8
    assert sum(b.learned for b in validation_batches(examples, 2, 1, tokens=3)) == 4
    assert longest_batch(examples, 2, 1).tokens.shape == (2, 8)
