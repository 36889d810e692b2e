"""Blocks, tables and scratch memory of the numpy backend's moments."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import FLOATS, decoded, moments_of, store

from mlx_probe.compute.backends.counts import FEW, CodeCounts
from mlx_probe.compute.backends.distribution import BIN_BITS, moments_of_bins
from mlx_probe.compute.backends.numpy import moments as numpy_moments
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.backends.numpy.moments import BLOCK
from mlx_probe.compute.backends.powersums import PowerSums
from mlx_probe.compute.backends.subnormals import SubnormalBins
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.records import QUANTILES

NUMPY = NumpyBackend()
CODED = [name for name, dtype in DTYPES.items() if dtype.itemsize <= 2]
WIDE = [name for name, dtype in DTYPES.items() if dtype.itemsize > 2]


def patterns(dtype, count, rng):
    """Random bits: every exponent, subnormals, NaN and infinities."""
    return rng.integers(0, 256, count * DTYPES[dtype].itemsize, np.uint8).view(
        DTYPES[dtype].storage
    )


@pytest.mark.parametrize("dtype", CODED)
def test_codes_are_counted_alike_in_long_and_short_chunks(dtype, rng):
    words = patterns(dtype, (1 << 18) + 70_001, rng)
    whole = moments_of(NUMPY, words, dtype, extent=words.size)
    parts = moments_of(NUMPY, words, dtype, extent=999)
    np.testing.assert_equal(whole, parts)
    assert whole.count == words.size


@pytest.mark.parametrize("dtype", [name for name in FLOATS if name in CODED])
def test_moments_of_codes_are_exact(dtype, rng):
    words, values = store(rng.standard_t(3, 2000), dtype)
    x = [Fraction(value) for value in values.tolist()]
    mean = sum(x) / len(x)
    exact = [sum((each - mean) ** k for each in x) / len(x) for k in (2, 3, 4)]
    result = moments_of(NUMPY, words, dtype)
    deviation = float(exact[0]) ** 0.5
    assert abs(result.mean - float(mean)) <= 1e-15 * deviation
    for k, value in enumerate(exact, 2):
        assert abs(getattr(result, f"m{k}") - float(value)) <= 1e-14 * deviation**k


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
def test_every_element_is_in_one_block(dtype, count, rng):
    words, x = store(1000 * rng.random(count) + 1, dtype)
    result = moments_of(NUMPY, words, dtype, extent=count)
    assert (result.count, result.min, result.max) == (count, x.min(), x.max())
    assert result.mean == pytest.approx(x.mean(), rel=1e-14)
    assert result.m4 == pytest.approx(np.mean((x - x.mean()) ** 4), rel=1e-13)


@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_nan_inf_zero_and_small_in_any_block(dtype, rng, monkeypatch):
    monkeypatch.setattr(numpy_moments, "BLOCK", 64)
    x = rng.standard_normal(64 * 20)
    x[64 * 3 : 64 * 4] = np.nan
    for value in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-8, 1e-9):
        x[rng.integers(0, x.size, 9)] = value
    words, x = store(x, dtype)
    count = moments_of(NUMPY, words, dtype, extent=x.size)
    finite = x[np.isfinite(x)]
    assert (count.nan_count, count.inf_count, count.zero_count, count.small_count) == (
        np.isnan(x).sum(),
        np.isinf(x).sum(),
        (x == 0).sum(),
        (np.abs(finite) <= 1e-8).sum(),
    )
    assert (count.min, count.max) == (finite.min(), finite.max())
    assert count.m2 == pytest.approx(finite.var(), rel=1e-14)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # signalling NaNs
@pytest.mark.parametrize(("dtype", "tolerance"), [("F32", 2**-11), ("F64", 2**-8)])
def test_quantiles_of_random_bits_lie_between_their_neighbours(dtype, tolerance, rng):
    words = patterns(dtype, 50_000, rng)
    result = moments_of(NUMPY, words, dtype, extent=words.size)
    x = decoded(words, dtype)
    x = x[np.isfinite(x)]
    assert (result.count, result.finite_count) == (words.size, x.size)
    for q, value in zip(QUANTILES, result.quantiles, strict=True):
        low, high = (np.quantile(x, q, method=method) for method in ("lower", "higher"))
        assert low - abs(low) * tolerance <= value <= high + abs(high) * tolerance


@pytest.mark.parametrize("held", ["BF16", "F16"])
def test_value_dtype_does_not_depend_on_nan(backend, held, rng):
    values = store(rng.standard_normal(100), held)[1].astype(np.float32)
    odd = np.array([0x7FC00001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert moments_of(backend, np.concatenate((values, odd)), "F32").value_dtype == held


@pytest.mark.parametrize(
    ("dtype", "held", "value"),
    [
        # Few bits, but outside of the range.
        ("F32", "F32", 2.0**-140 + 2.0**-148),
        ("F32", "BF16", 2.0**20),
        ("F64", "F64", 2.0**1000),
        ("F64", "F64", 2.0**-300),
        ("F64", "F32", 2.0**-140),
        ("F64", "BF16", 2.0**-133),
    ],
)
def test_value_dtype_heeds_the_exponent(dtype, held, value):
    # 1 + 2**-7 needs all the bits of BF16, so nothing narrower fits.
    words, _ = store(np.array([1 + 2**-7, value]), dtype)
    assert moments_of(NUMPY, words, dtype).value_dtype == held


def test_a_bin_holds_more_than_32_bits():
    counts = CodeCounts(BIN_BITS)
    counts.add(np.full(FEW + 1, 7))
    # As if so many had come.
    counts._table[7] = counts._seen = 2**31 - 5
    counts.add(np.full(10, 7))
    assert counts.occurrences()[1].tolist() == [2**31 + 5]


@pytest.mark.parametrize("bits", [8, 16, 20])
@pytest.mark.parametrize("sizes", [(5, 3), (FEW, 1), (FEW + 1,), (3, 1 << 17, 2), ()])
def test_codes_are_counted_alike_in_a_list_and_in_a_table(bits, sizes, rng):
    counts, table = CodeCounts(bits), np.zeros(1 << bits, np.int64)
    for size in sizes:
        codes = rng.integers(0, 1 << bits, size)
        counts.add(codes)
        table += np.bincount(codes, minlength=1 << bits)
        codes[:] = 0  # They are the caller's.
    counts.add_table(table)
    codes, occurrences = counts.occurrences()
    np.testing.assert_array_equal(codes, np.flatnonzero(table))
    np.testing.assert_array_equal(occurrences, 2 * table[table > 0])


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.integers(1 << 11, (1 << 19) - 1), st.integers(1, 2**40)))
def test_no_bin_is_lost(occupied):
    codes = np.array(sorted(occupied), np.intp)
    counts = np.array([occupied[code] for code in codes.tolist()], np.int64)
    words = (codes.astype(np.uint32) << (32 - BIN_BITS)).view(np.float32)
    with np.errstate(invalid="ignore"):
        x = words.astype(np.float64)
    finite = np.isfinite(x)
    tally = numpy_moments.Tally(0, 0, 0, 0, -np.inf, np.inf, PowerSums(), False)
    result = moments_of_bins((codes, counts), tally, "F32", (), SubnormalBins("F32").bins())
    if not finite.any():
        assert result.rounding_variance is None
        return
    ulp = np.spacing(np.abs(words[finite])).astype(np.float64)
    expected = np.sum(counts[finite] * ulp**2) / (12 * counts[finite].sum())
    assert result.rounding_variance == pytest.approx(expected, rel=1e-12)


def test_power_sums_leave_their_elements_alone(rng):
    x = rng.standard_normal(1000)
    kept, scratch = x.copy(), np.empty((2, 1000))
    assert PowerSums.of(x) == PowerSums.of(x, *scratch)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("dtype", ["F32", "F64", "I32", "BF16", "U8"])
def test_a_tiny_tensor_makes_no_large_table(dtype, rng):
    words, _ = store(rng.integers(1, 100, 64).astype(float), dtype)
    moments_of(NUMPY, words, dtype)
    tracemalloc.start()
    moments_of(NUMPY, words, dtype)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A table of all 16-bit patterns takes 524,288.
    assert peak < 60_000
