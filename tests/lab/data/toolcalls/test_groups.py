"""No function is in two parts."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.lab.data.toolcalls.groups import PARTS, Groups, split_groups

# Each example with its functions; none for examples of their own.
EXAMPLES = st.lists(st.sets(st.integers(0, 30), max_size=3), min_size=1, max_size=60)


def key(number):
    return number.to_bytes(16, "big")


def split_of(examples, valid=0.2, test=0.2, seed=0):
    groups = Groups()
    for number, functions in enumerate(examples):
        groups.add(map(key, functions), b"alone" + key(number))
    return split_groups(groups, valid, test, seed)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(EXAMPLES, st.integers(0, 3))
def test_no_function_is_in_two_parts(examples, seed):
    split = split_of(examples, seed=seed)
    part_of = {}
    for functions, part in zip(examples, split.part_of, strict=True):
        for function in functions:
            assert part_of.setdefault(function, part) == part
    assert len(split.part_of) == len(examples)
    assert PARTS.index("train") in split.part_of


def test_the_shares_are_met_where_they_can_be():
    split = split_of([{number} for number in range(100)], 0.1, 0.2)
    assert [split.part_of.count(part) for part in range(3)] == [70, 10, 20]
    assert split.components == {"train": 70, "valid": 10, "test": 20}
    assert split.notes == ()


def test_one_large_component_is_named():
    examples = [{0, number} for number in range(1, 61)] + [{number} for number in range(61, 101)]
    split = split_of(examples, 0.3, 0.3)
    assert split.largest == 60
    train = set(split.part_of[:60])
    assert len(train) == 1
    assert any("examples of 30 wanted: the largest group" in note for note in split.notes)


def test_everything_in_one_component_is_for_training():
    split = split_of([{0, number} for number in range(1, 20)])
    assert set(split.part_of) == {0}
    assert len(split.notes) == 2
    assert "valid has 0 examples of 4 wanted" in split.notes[0]


def test_a_wanted_part_gets_something():
    # Two components of ten: neither fits into a share of 4, and valid gets one all the same.
    split = split_of([{number // 10} for number in range(20)], 0.2, 0)
    assert sorted(split.part_of) == [0] * 10 + [1] * 10


def test_the_order_of_the_rows_decides_nothing():
    examples = [{number, number // 3 + 100} for number in range(60)]
    order = list(range(60))
    random.Random(1).shuffle(order)
    there = split_of(examples, seed=7).part_of
    here = split_of([examples[number] for number in order], seed=7).part_of
    assert [there[number] for number in order] == list(here)
    assert split_of(examples, seed=8).part_of != there
