"""Every step of the digits' arithmetic is exact."""

import os
import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest

from mlx_probe.compute.backends.mlx.digits import (
    BLOCK_ROWS,
    ENERGY,
    LARGEST,
    WINDOW,
    blocked,
    digit_products,
    group_count,
    group_unit,
    peel,
    scaled,
)

COUNTS = (3, 4, 5, 6)


@pytest.fixture(autouse=True)
def cpu():
    mx.set_default_device(mx.cpu)


def on_device(integers):
    """Digits of given integers, as `peel` would make them."""
    return [
        blocked(mx.array((d * 2.0 ** -(7 + 8 * k)).astype(np.float32)))
        for k, d in enumerate(integers)
    ]


def exact_products(integers):
    """Groups of levels in Python's integers: none can overflow."""
    groups = {}
    for i, left in enumerate(integers):
        for j, right in enumerate(integers):
            group = max(i + j - 1, 0) // 4
            weight = 256 ** (4 * group + 4 - i - j)
            product = np.swapaxes(left, 1, 2) @ right
            groups[group] = groups.get(group, 0) + weight * product.astype(object)
    return [groups[group] for group in sorted(groups)]


def check(integers, first=0, last=None):
    last = integers[0].shape[2] if last is None else last
    result = digit_products(on_device(integers), first, last)
    expected = exact_products(integers)
    assert len(result) == len(expected) == group_count(len(integers))
    for group, exact in zip(result, expected, strict=True):
        assert group.dtype == mx.int64
        np.testing.assert_array_equal(np.array(group).astype(object), exact[:, first:last, first:])


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1023, 7),
        (1, 1024, 7),
        (1, 1025, 7),
        (1, 3000, 30),
        (1, 16, 16),
        (1, 5, 90),
        (3, 1100, 9),
    ],
)
def test_products_are_integer_arithmetic(count, shape, rng):
    check([rng.integers(-128, 129, shape) for _ in range(count)])


@pytest.mark.parametrize("count", COUNTS)
def test_panels_are_parts_of_the_whole(count, rng):
    integers = [rng.integers(-128, 129, (2, 50, 11)) for _ in range(count)]
    for first, last in ((0, 4), (4, 10), (10, 11)):
        check(integers, first, last)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_full_window_of_the_largest_digits_fits(count, sign):
    # Every partial sum climbs to its bound, with and against the other column.
    worst = np.full((1, WINDOW * BLOCK_ROWS, 2), 128)
    worst[:, :, 1] *= sign
    check([worst] * count)


@pytest.mark.parametrize("count", COUNTS)
def test_a_leading_digit_may_be_large_where_the_others_are_small(count):
    # Columns of the most energy allowed: few large numbers, or as many as there are rows.
    largest = int(128 * LARGEST)
    few = int(ENERGY / LARGEST**2)
    integers = [np.full((1, 2 * BLOCK_ROWS, 3), 128) for _ in range(count)]
    integers[0][:, :, 0] = 0
    integers[0][:, [*range(few), *range(BLOCK_ROWS, BLOCK_ROWS + few)], 0] = -largest
    energy = (integers[0][:, :BLOCK_ROWS].astype(float) ** 2).sum(axis=1) * 2.0**-14
    assert energy.max() == ENERGY
    check(integers)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("bound", [1.0, 15.9])
def test_digits_and_remainder_are_the_number(count, bound, rng):
    x = rng.uniform(-bound, bound, (2, 500, 3)).astype(np.float32)
    x *= 10.0 ** rng.integers(-8, 1, x.shape)
    digits, rest = peel(mx.array(x), count)
    unit = 2.0 ** -(8 * count - 1)
    value = sum(np.array(digit).astype(float) for digit in digits)
    np.testing.assert_array_equal(value + np.array(rest).astype(float) * unit, x.astype(float))
    assert np.abs(np.array(rest)).max() <= 0.5
    for k, digit in enumerate(digits):
        integers = np.array(digit).astype(float) * 2.0 ** (7 + 8 * k)
        assert np.array_equal(integers, np.rint(integers))
        assert np.abs(integers).max() <= (128 * bound if k == 0 else 128)


def test_digits_survive_products_in_tf32(rng):
    x = rng.uniform(-LARGEST, LARGEST, (4000,)).astype(np.float32)
    for digit in peel(mx.array(x), 6)[0]:
        # TF32 drops the 13 low bits of the fraction; the unit of a group is a power of two.
        for group in range(group_count(6)):
            shifted = np.array(digit * (1 / group_unit(group)))
            assert not (shifted.view(np.uint32) & 0x1FFF).any()


@pytest.mark.parametrize("rows", [1, 1023, 1024, 1025, 2048, 2049])
def test_blocks_hold_all_rows_and_zeros(rows, rng):
    x = rng.standard_normal((2, rows, 3)).astype(np.float32)
    result = np.array(blocked(mx.array(x)))
    assert result.shape[2] <= BLOCK_ROWS
    flat = result.reshape(2, -1, 3)
    np.testing.assert_array_equal(flat[:, :rows], x)
    assert not flat[:, rows:].any()


@pytest.mark.parametrize("exponent", [-277, -149, -1, 0, 127, 149, 200, 252])
def test_scaling_is_exact_beyond_the_normal_powers_of_two(exponent):
    start = 2.0 ** (-120 if exponent > 0 else 120)
    expected = np.float32(1.5 * start * 2.0**exponent) if exponent < 240 else np.inf
    result = np.array(scaled(mx.array(np.float32(1.5 * start)), exponent))
    assert result == expected


def test_full_float32_products_are_asked_for_before_mlx_is_imported():
    # MLX reads the variable once.
    script = """
import os, sys

class Spy:
    def find_spec(self, name, *_):
        if name == "mlx.core":
            print(os.environ.get("MLX_ENABLE_TF32"))

sys.meta_path.insert(0, Spy())
import mlx_probe.analysis.analyze
mlx_probe.compute.backends.BACKENDS["mlx"]("cpu")
"""
    environment = {k: v for k, v in os.environ.items() if k != "MLX_ENABLE_TF32"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0"]
