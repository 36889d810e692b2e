"""Sums that stay on the device, and when they leave it."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_probe.compute.backends.mlx.gram import DigitGram

EPS = np.finfo(float).eps


@pytest.fixture(autouse=True)
def cpu():
    mx.set_default_device(mx.cpu)


@pytest.fixture
def transfers(monkeypatch):
    """How many blocks of rows each transfer to the host took along."""
    taken = []
    flush = DigitGram._flush

    def counting(self):
        if self._blocks:
            taken.append(self._blocks)
        flush(self)

    monkeypatch.setattr(DigitGram, "_flush", counting)
    return taken


def gram_of(slabs, digits, floor=0.0):
    gram = DigitGram(slabs[0].shape[1], digits, floor=floor)
    for slab in slabs:
        gram.add(mx.array(slab.astype(np.float32))[None])
    return gram.finish()[0]


def check(slabs, digits=4):
    """Columns are judged on their own scales: large ones must not hide small ones."""
    gram = gram_of(slabs, digits)
    x = np.concatenate(slabs).astype(np.float32).astype(float)
    norms = np.maximum(np.linalg.norm(x, axis=0), 1e-300)
    off = np.triu(gram.matrix - x.T @ x) / np.outer(norms, norms)
    assert np.abs(off).max() <= np.sqrt(x.shape[0]) * 2.0 ** -(8 * digits - 2) + 64 * EPS
    norm = np.linalg.norm(x, 2)
    error = np.linalg.norm(np.triu(gram.matrix) + np.triu(gram.matrix, 1).T - x.T @ x, 2)
    assert error <= 2 * norm * gram.omitted + gram.omitted**2 + 64 * EPS * norm**2
    return gram


def test_sums_stay_until_the_end(transfers, rng):
    check([rng.standard_normal((200, 6)) for _ in range(10)])
    assert transfers == [10]


@pytest.mark.parametrize("slab", [1024, 7168, 70_000])
def test_sums_leave_the_device_every_65536_rows(transfers, slab, rng):
    x = rng.integers(-99, 100, (70_000, 6)).astype(np.float32)
    gram = gram_of([x[first : first + slab] for first in range(0, 70_000, slab)], 3)
    assert gram.omitted == 0
    np.testing.assert_array_equal(np.triu(gram.matrix), np.triu(x.astype(int).T @ x.astype(int)))
    assert len(transfers) == 2
    assert max(transfers) <= 64


@pytest.mark.parametrize("digits", [3, 4, 6])
def test_a_small_first_slab_and_huge_ones_after_it(transfers, digits, rng):
    slabs = [scale * rng.standard_normal((100, 5)) for scale in (1e-30, 1.0, 1e30, 1e3)]
    check(slabs, digits)
    assert transfers == [1, 1, 2]


def test_a_huge_first_slab_loses_nothing_that_counts(transfers, rng):
    check([scale * rng.standard_normal((100, 5)) for scale in (1e30, 1.0, 1e-30)])
    assert transfers == [3]


@pytest.mark.parametrize("first", [2.0**-149, 15 * 2.0**-149, 1e-40, 1e-20, 1.0])
def test_columns_of_zeros_get_their_scale_when_they_get_numbers(transfers, first, rng):
    x = np.zeros((5, 100, 4))
    x[:, :, 0] = rng.standard_normal((5, 100))
    for column in (1, 2, 3):
        x[column, :, column] = first * rng.integers(1, 3, 100)
    check(list(x))
    assert transfers == [5]


def test_a_zero_column_with_the_least_numbers_first_keeps_them(rng):
    x = np.zeros((3, 50, 2))
    x[1], x[2] = 2.0**-149, rng.standard_normal((50, 2))
    check(list(x))


@pytest.mark.parametrize(("outlier", "expected"), [(15.9, [4]), (16.0, [2, 2])])
def test_outliers_cause_a_transfer_where_their_digits_would_be_too_long(
    transfers, outlier, expected, rng
):
    slabs = [0.3 * rng.standard_normal((1000, 5)).clip(-3, 3) for _ in range(4)]
    slabs[0][0] = 0.99
    slabs[2][17] = outlier
    check(slabs)
    assert transfers == expected


def test_growth_of_whole_columns_that_does_not_fit_is_noticed(transfers):
    # Fifteen times as large everywhere: each digit is small enough, the sums are not.
    check([np.full((1024, 3), scale) for scale in (1.0, 15.0)])
    assert transfers == [1, 1]


@pytest.mark.parametrize("digits", [3, 4])
def test_order_and_extent_of_slabs_do_not_matter_within_a_window(digits, rng):
    x = rng.standard_normal((3000, 7)).astype(np.float32)
    x[[0, 1000, 2000]] = 8.0  # the same power of two whatever comes first
    whole = gram_of([x], digits)
    for slabs in ([x[2000:], x[:1000], x[1000:2000]], [x[:2500], x[2500:]]):
        np.testing.assert_array_equal(gram_of(slabs, digits).matrix, whole.matrix)
        assert gram_of(slabs, digits).omitted == pytest.approx(whole.omitted, rel=1e-3)


@pytest.mark.parametrize("columns", [127, 129, 300])
def test_panels_make_the_upper_triangle(columns, rng):
    x = rng.integers(-99, 100, (20, columns))
    result = gram_of([x], 3).matrix
    np.testing.assert_array_equal(np.triu(result), np.triu(x.T @ x))


@pytest.mark.parametrize("digits", [3, 4, 5])
@pytest.mark.parametrize("scale", [1e-36, 1.0, 1e36])
def test_omitted_is_what_the_digits_left_out(digits, scale, rng):
    x = (scale * rng.standard_normal((4096, 3)) * 10.0 ** rng.uniform(-6, 0, (4096, 3))).astype(
        "f4"
    )
    exponent = np.frexp(np.abs(x).max(axis=0))[1]
    unit = np.ldexp(1.0, exponent - 8 * digits + 1)
    left_out = np.linalg.norm(x - np.rint(x / unit) * unit)
    result = gram_of([x], digits).omitted
    assert left_out <= result <= 1.001 * left_out


def test_remainders_too_small_to_be_squared_are_not_forgotten():
    x = np.zeros((4, 2), np.float32)
    x[0], x[1] = 1.0, 2.0**-120
    assert np.sqrt(2) * 2.0**-120 <= gram_of([x], 4).omitted <= 2.0**-80


def test_what_a_device_takes_for_zero_is_left_out(rng):
    x = rng.integers(-9, 10, (30, 4))
    floor = 2.0**-126
    assert gram_of([x], 3).omitted == 0
    assert gram_of([x, x], 3, floor).omitted / floor == pytest.approx(np.sqrt(2 * 120), rel=1e-12)


def test_nothing_added_is_a_matrix_of_zeros():
    gram = DigitGram(3, 3).finish()[0]
    assert not gram.matrix.any()
    assert gram.omitted == 0
