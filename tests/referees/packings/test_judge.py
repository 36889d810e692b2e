"""The judge itself: what is wrong is noticed, however little."""

from dataclasses import replace

import numpy as np
import pytest

from referees.packings.cases import Case, judge
from referees.packings.test_gguf import by_gguf
from referees.packings.test_mlx import quantized


def right():
    return quantized(mode="mxfp4", group_size=32, bits=4)


def judged(folder, made, refused=""):
    outcomes = []
    judge(Case("", lambda: made, refused), folder, lambda *pair: outcomes.append(pair))
    return outcomes


def changed(made, change):
    ((name, values),) = made.values.items()
    return replace(made, values={name: change(values.copy())})


def test_right_numbers_are_accepted(tmp_path):
    assert judged(tmp_path, right()) == []


def test_one_number_that_is_off_by_its_last_bit_is_noticed(tmp_path):
    def off(values):
        values[3, 5] = np.nextafter(values[3, 5], np.float32(np.inf))
        return values

    with pytest.raises(AssertionError, match=r"1 of 3072 differ, first at \[\[3, 5\]\]"):
        judged(tmp_path, changed(right(), off))


def test_other_signs_and_shapes_are_noticed(tmp_path):
    for change in (np.negative, np.transpose, lambda values: values[:4]):
        with pytest.raises(AssertionError):
            judged(tmp_path, changed(right(), change))


def test_numbers_where_a_reason_is_expected_are_noticed(tmp_path):
    """A case that is supported one day fails until its reason is removed."""
    with pytest.raises(AssertionError):
        judged(tmp_path, right(), refused="not supported")


def test_a_reason_where_numbers_are_expected_is_noticed(tmp_path):
    with pytest.raises(AssertionError):
        judged(tmp_path, replace(right(), config={}))


def test_only_the_expected_reason_is_accepted(tmp_path):
    unreadable = replace(right(), config={})
    assert judged(tmp_path, unreadable, refused="config.json .* is missing")
    with pytest.raises(AssertionError):
        judged(tmp_path, unreadable, refused="another reason")


def test_a_tensor_that_no_row_accounts_for_is_noticed(tmp_path):
    made = by_gguf("Q4_0")
    extra = {"blk.1.ffn_up.weight": next(iter(made.tensors.values()))}
    with pytest.raises(AssertionError):
        judged(tmp_path, replace(made, tensors={**made.tensors, **extra}))
