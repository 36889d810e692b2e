"""Every metric over the whole range of float64: against exact fractions, and by its scaling law."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from matrices import measure

from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.metrics import METRICS, compute_metrics
from mlx_probe.metrics.heavy_tail import HEAVY_TAIL

LARGEST = float(np.finfo(np.float64).max)
SMALLEST = 2.0**-1074
# Absolute thresholds and grids: their columns follow no scaling law.
ABSOLUTE = {"sparsity", "value_dtype", "spectrum_method", "spectrum_error", "q4_nrmse", "q8_nrmse"}
ABSOLUTE |= {metric.name for metric in HEAVY_TAIL.metrics if metric.name.startswith("ww_")}
# noise_rank is of the narrowest type, which depends on the range.
ABSOLUTE |= {"noise_rank", "alpha_hat", "log_alpha_norm", "nan_count", "inf_count"}
POWERS = {"weight": 1, "weight²": 2}


def row_of(x, level="full"):
    return compute_metrics(measure(NumpyBackend(), x, "F64"), level)


def close(value, expected, name, tolerance):
    """Whether a value is right, or null because it lies outside of the range."""
    if expected is None or not isinstance(expected, Fraction):
        if isinstance(expected, float):
            # What cancels is compared on the scale of what cancels.
            slack = {"skewness": 1.0, "kurtosis": 3.0}.get(name, 0.0)
            assert value == pytest.approx(expected, rel=tolerance, abs=tolerance * slack), name
        else:
            assert value == expected, name
    elif value is None:
        assert not 2.0**-1022 <= abs(expected) <= LARGEST, name
        assert expected != 0, name
    else:
        error = abs(Fraction(value) - expected)
        assert error <= Fraction(tolerance) * abs(expected) + Fraction(SMALLEST), name


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(-1100, 1020), st.integers(0, 2**32 - 1), st.sampled_from(["matrix", "sparse"]))
@example(1023, 0, "matrix")
@example(-1074, 1, "matrix")
def test_every_metric_follows_its_scaling_law(exponent, seed, kind):
    rng = np.random.default_rng(seed)
    # Few bits, so that subnormals lose none of them.
    x = rng.integers(-31, 32, (24, 12)) * np.where(rng.random((24, 12)) < 0.1, 8, 1)
    x = x * (rng.random(x.shape) < 0.2) if kind == "sparse" else x
    assume(np.any(x))
    one = row_of(x.astype(np.float64))
    shift = min(exponent, 1023 - int(np.frexp(np.abs(x).max())[1]) + 1)
    shift = max(shift, -1074)
    scaled = np.ldexp(x.astype(np.float64), shift)
    assert np.array_equal(np.ldexp(scaled / 2.0 ** (shift // 2), -(shift - shift // 2)), x)
    other = row_of(scaled)
    for metric in METRICS:
        name, value = metric.name, one[metric.name]
        if name in ABSOLUTE:
            continue
        power = POWERS.get(metric.unit, 0)
        # The direct SVD of extreme elements and the Gram matrix differ within their errors.
        tolerance = 1e-6 if metric.family != "moments" else 1e-12
        tolerance = 2**-7 if name.startswith("q") else tolerance
        if power and value is not None:
            exact = Fraction(value) * Fraction(2) ** (power * shift)
            if name in ("sigma_min", "mean"):
                # Known only on the scale of the largest one, and of the spread.
                scale = Fraction(one["spectral_norm"]) * Fraction(2) ** shift
                if other[name] is not None:
                    error = abs(Fraction(other[name]) - exact)
                    assert error <= scale * Fraction(1e-7) + Fraction(SMALLEST), name
                continue
            close(other[name], exact, name, tolerance)
        elif name == "condition_number":
            assert 1 / other[name] == pytest.approx(1 / value, rel=1e-6, abs=2e-7)
        elif name in ("alpha_low", "alpha_high", "alpha_stderr", "alpha", "alpha_D"):
            assert value is None or other[name] == pytest.approx(value, rel=1e-4), name
        else:
            close(other[name], value, name, tolerance)


def exact_moments(x):
    """Mean, mean square and central moments in fractions."""
    values = [Fraction(v) for v in x.ravel().tolist()]
    n = len(values)
    mean = sum(values) / n
    return (
        mean,
        sum(v * v for v in values) / n,
        [sum((v - mean) ** k for v in values) / n for k in (2, 3, 4)],
    )


def root(value):
    """Square root of a fraction to float64's precision, as a fraction."""
    digits = 1 << 2400
    return Fraction(math.isqrt(int(value * digits * digits)), digits)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=40),
)
@example([LARGEST, -LARGEST])
@example([LARGEST, LARGEST / 2, 0.0])
@example([SMALLEST, 0.0, -SMALLEST, 3 * SMALLEST])
@example([LARGEST, SMALLEST])
@example([1e-200, 2e-200, -1e-200])
@example([1e200, 1e-200, 1.0])
@example([2.0**200, 2.0**-200, 2.0**201, 2.0**-201])
def test_moments_of_any_floats_are_those_of_exact_fractions(values):
    x = np.array(values)
    row = row_of(x, "basic")
    mean, square, (m2, m3, m4) = exact_moments(x)
    size = max(abs(Fraction(v)) for v in values)
    if row["mean"] is not None:
        assert abs(Fraction(row["mean"]) - mean) <= size * Fraction(1e-14) + Fraction(SMALLEST)
    # Deviations from a rounded mean: right on the scale of the elements.
    if m2 > size**2 * Fraction(1e-20):
        close(row["std"], root(m2), "std", 1e-9)
        close(row["var"], m2, "var", 1e-9)
        skewness = float(m3 / (m2 * root(m2)))
        assert row["skewness"] == pytest.approx(skewness, rel=1e-7, abs=1e-7)
        assert row["kurtosis"] == pytest.approx(float(m4 / m2**2) - 3, rel=1e-7, abs=1e-7)
    close(row["rms"], root(square), "rms", 1e-12)
    assert (row["min"], row["max"]) == (min(values), max(values))
    assert row["abs_max"] == max(map(abs, values))


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 1e-200, SMALLEST, 1e154, 3e-162])
def test_a_constant_matrix_of_any_size_has_rank_one(value):
    row = row_of(np.full((30, 20), value))
    assert row["rank"] == row["rank_numpy"] == row["energy_rank_99"] == 1
    assert row["mean"] == row["min"] == row["max"] == row["q50"] == value
    assert (row["std"], row["rms"]) == (0, abs(value))
    assert row["stable_rank"] == pytest.approx(1)
    norm = Fraction(abs(value)) * root(Fraction(600))
    for name in ("spectral_norm", "frobenius_norm"):
        close(row[name], norm, name, 1e-12)
    assert (row["spectral_norm"] is None) == (norm > Fraction(LARGEST))


def test_what_lies_beyond_the_range_is_null_and_said():
    m = measure(NumpyBackend(), np.full((4, 4), LARGEST), "F64")
    assert not m.has_lost
    row = compute_metrics(m, "standard")
    assert row["spectral_norm"] is row["frobenius_norm"] is None
    assert m.has_lost
    ordinary = measure(NumpyBackend(), np.eye(4), "F64")
    compute_metrics(ordinary, "full")
    assert not ordinary.has_lost


def test_elements_far_below_float32_do_not_survive_quantization():
    x = 1e-200 * np.random.default_rng(0).standard_normal((64, 64))
    row = row_of(x)
    assert row["q4_nrmse"] == row["q8_nrmse"] == 1.0
    # Of the same size for float32, which rounds them to subnormals and zeros.
    small = row_of(x * 1e155)
    assert small["q4_nrmse"] == pytest.approx(1.0)
    assert row_of(x * 1e250)["q4_nrmse"] is None


@pytest.mark.parametrize("blocks", [1, 3])
def test_blocks_of_any_size_add_up(blocks, monkeypatch):
    monkeypatch.setattr("mlx_probe.compute.backends.numpy.moments.BLOCK", 40 // blocks)
    rng = np.random.default_rng(3)
    scales = rng.permutation(np.repeat([1e-300, 1.0, 1e300, 0.0], 10))
    x = scales * rng.standard_normal(40)
    row = row_of(x, "basic")
    _, square, (m2, _, m4) = exact_moments(x)
    close(row["rms"], root(square), "rms", 1e-12)
    close(row["std"], root(m2), "std", 1e-12)
    assert row["kurtosis"] == pytest.approx(float(m4 / m2**2) - 3, rel=1e-12)
