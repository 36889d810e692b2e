"""Quantiles of zeros and subnormals, and moments at the ends of every type's range."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import measure, moments_of

from mlx_probe.core.records import QUANTILES
from mlx_probe.metrics import compute_metrics

FLOAT32 = np.finfo(np.float32)


def between_neighbours(result, x, tolerance):
    """Whether quantiles lie between the two order statistics around them, within a bin."""
    for q, value in zip(QUANTILES, result.quantiles, strict=True):
        low, high = (np.quantile(x, q, method=method) for method in ("lower", "higher"))
        assert low - abs(low) * tolerance <= value <= high + abs(high) * tolerance, q


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("dtype", ["F32", "F64"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 1.0])
def test_exact_zeros_are_a_bin_of_their_own(backend, dtype, zero, share, rng):
    x = rng.standard_normal(20_000).astype({"F32": np.float32, "F64": np.float64}[dtype])
    x[rng.random(x.size) < share] = zero
    result = moments_of(backend, x, dtype)
    between_neighbours(result, x.astype(np.float64), 2**-11 if dtype == "F32" else 2**-8)
    if share >= 0.5:
        assert result.quantiles[2] == 0


def test_one_sign_beside_zeros_keeps_the_zeros(backend):
    x = np.float32([-1, -1, 0, 0, 0, 0, 0, 1, 1])
    assert moments_of(backend, x, "F32").quantiles[2] == 0
    relu = np.maximum(np.float32(np.random.default_rng(1).standard_normal(4001)), 0)
    assert moments_of(backend, relu, "F32").quantiles[:2] == (0, 0)


@pytest.mark.parametrize(("dtype", "tolerance"), [("F32", 2**-11), ("F64", 2**-8)])
@pytest.mark.parametrize("others", [0, 0.3])
def test_subnormals_keep_the_tolerance(backend, dtype, tolerance, others, rng):
    word = {"F32": "u4", "F64": "u8"}[dtype]
    fraction = {"F32": 23, "F64": 52}[dtype]
    # Of every size, down to the smallest one, and of both signs.
    words = (2 ** rng.uniform(0, fraction, 30_000)).astype(word)
    words |= (rng.random(words.size) < 0.4).astype(word) << np.array(8 * int(word[1]) - 1, word)
    x = words.view(word.replace("u", "f"))
    x = np.where(rng.random(x.size) < others, rng.choice([0.0, -0.0, 1.0], x.size), x)
    x = x.astype(word.replace("u", "f"))
    result = moments_of(backend, x, dtype)
    between_neighbours(result, x.astype(np.float64), tolerance)
    assert result.zero_count == np.count_nonzero(x == 0)
    assert (result.min, result.max) == (x.min(), x.max())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(-(2.0**-120), 2.0**-120, width=32), min_size=1, max_size=60))
def test_tiny_float32_have_the_moments_of_float64(backend, numbers):
    x = np.array(numbers, np.float32)
    result, exact = moments_of(backend, x, "F32"), x.astype(np.float64)
    assert result.mean == pytest.approx(exact.mean(), rel=1e-6, abs=1e-6 * exact.std())
    assert result.m2 == pytest.approx(exact.var(), rel=1e-5)
    assert (result.min, result.max) == (exact.min(), exact.max())
    between_neighbours(result, exact, 2**-11)


def test_a_value_dtype_with_subnormals_is_exact(backend):
    bfloat16 = np.array([1, 3, 127, 128, 0x8001], np.uint16).astype(np.uint32) << 16
    assert moments_of(backend, bfloat16.view(np.float32), "F32").value_dtype == "BF16"
    odd = np.append(bfloat16, np.uint32(3)).astype(np.uint32)
    assert moments_of(backend, odd.view(np.float32), "F32").value_dtype == "F32"


@pytest.mark.parametrize("scale", [FLOAT32.max, FLOAT32.max / 4, FLOAT32.tiny, 2.0**-149])
def test_float32_at_its_limits(backend, scale, rng):
    x = (rng.choice([-1, -0.5, 0, 0.25, 1], (300, 80)) * scale).astype(np.float32)
    exact = x.astype(np.float64)
    row = compute_metrics(measure(backend, x, "F32"), "full")
    assert row["std"] == pytest.approx(exact.std(), rel=1e-6)
    assert row["var"] == pytest.approx(exact.var(), rel=1e-6)
    assert row["rms"] == pytest.approx(np.sqrt(np.mean(exact**2)), rel=1e-6)
    sigma = np.linalg.svd(exact / scale, compute_uv=False) * scale
    assert row["spectral_norm"] == pytest.approx(sigma[0], rel=1e-6)
    assert row["nuclear_norm"] == pytest.approx(sigma.sum(), rel=1e-6)
    assert row["rank"] == np.linalg.matrix_rank(exact / scale)
    assert row["zero_fraction"] == np.mean(x == 0)


@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_the_median_between_both_ends_of_the_range_is_not_one_of_them(backend, dtype):
    largest = np.finfo({"F32": np.float32, "F64": np.float64}[dtype]).max
    x = np.array([-largest, largest])
    assert abs(moments_of(backend, x, dtype).quantiles[2]) <= largest * 2**-8


@pytest.mark.parametrize("dtype", ["I64", "U64"])
@pytest.mark.parametrize("count", [50, 300])
def test_integers_that_float64_skips_have_their_spread(backend, dtype, count, rng, monkeypatch):
    monkeypatch.setattr("mlx_probe.compute.backends.numpy.moments.BLOCK", 100)
    kind = {"I64": np.int64, "U64": np.uint64}[dtype]
    top = np.iinfo(kind).max
    x = top - rng.integers(0, 200, count).astype(kind)
    row = compute_metrics(measure(backend, x, dtype), "basic")
    values = [Fraction(int(v)) for v in x]
    mean = sum(values) / count
    assert row["mean"] == float(mean)
    assert row["var"] == pytest.approx(float(sum((v - mean) ** 2 for v in values) / count))
    assert (row["min"], row["max"]) == (float(x.min()), float(x.max()))


def test_integers_over_the_whole_range(backend, rng):
    x = rng.integers(-(2**63), 2**63 - 1, 5000)
    x[:3] = -(2**63), 2**63 - 1, 0
    row = compute_metrics(measure(backend, x, "I64"), "basic")
    exact = x.astype(np.float64)
    assert row["std"] == pytest.approx(exact.std(), rel=1e-12)
    assert row["mean"] == pytest.approx(exact.mean(), abs=1e-12 * 2**63)
    assert (row["min"], row["max"], row["abs_max"]) == (-(2.0**63), 2.0**63, 2.0**63)
    assert row["q50"] == pytest.approx(np.median(exact), abs=2**-8 * 2**57)


def test_smallest_and_largest_integers_alone(backend):
    for dtype, kind in (("I64", np.int64), ("U64", np.uint64), ("I32", np.int32)):
        info = np.iinfo(kind)
        for value in (info.min, info.max):
            row = compute_metrics(measure(backend, np.full(7, value, kind), dtype), "basic")
            assert row["mean"] == row["q50"] == row["min"] == row["max"] == float(value)
            assert row["std"] == 0
            assert row["zero_fraction"] == (value == 0)
