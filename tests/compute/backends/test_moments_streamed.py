import numpy as np
import pytest
from matrices import FLOATS, decoded, measure, moments_of, store, ulp

from mlx_probe.core.dtypes import DTYPES, FLOAT_FORMATS
from mlx_probe.metrics import Measurement, compute_metrics

# Relative, or of the scale of what cancels: the spread for the mean, one for the skewness,
# the three that is subtracted for the kurtosis.
SCALES = {"mean": lambda x: x.std(), "skewness": lambda x: 1.0, "kurtosis": lambda x: 3.0}


def columns(moments):
    return compute_metrics(Measurement(moments, 1e-6), "basic")


def tolerance(backend):
    return 1e-12 if backend.name == "numpy" else 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_slabs_add_up_to_the_whole(backend, dtype, rng):
    words = store(np.abs(rng.standard_normal(5000)) * 20, dtype)[0]
    whole = moments_of(backend, words, dtype, extent=5000)
    parts = moments_of(backend, words, dtype, extent=700)
    assert (parts.count, parts.min, parts.max) == (whole.count, whole.min, whole.max)
    assert parts.quantiles == whole.quantiles
    assert (parts.value_dtype, parts.rounding_variance) == (
        whole.value_dtype,
        whole.rounding_variance,
    )
    for name in ("mean", "m2", "m3", "m4"):
        expected = getattr(whole, name)
        assert getattr(parts, name) == pytest.approx(expected, rel=tolerance(backend)), name


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [0.37, -3.3e-5, 1.0])
def test_equal_elements_have_no_spread_whatever_their_mean_rounds_to(backend, dtype, value):
    words, values = store(np.full(3001, value), dtype)
    row = columns(moments_of(backend, words, dtype))
    assert (row["mean"], row["std"], row["var"]) == (values[0], 0.0, 0.0)
    assert (row["skewness"], row["kurtosis"]) == (None, None)
    assert row["q001"] == row["q999"] == values[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_element(backend, dtype):
    words, values = store(np.array([1.0]), dtype)
    row = columns(moments_of(backend, words, dtype))
    names = ("mean", "min", "max", "abs_max", "rms", "q50")
    assert {name: row[name] for name in names} == dict.fromkeys(names, values[0])
    assert row["std"] == row["sparsity"] == 0


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6])
def test_a_tiny_spread_around_one_survives(backend, spread, rng):
    words, x = store(1 + spread * rng.standard_normal(20_000), "F32")
    row = columns(moments_of(backend, words, "F32"))
    d = x - x.mean()
    assert row["mean"] == pytest.approx(x.mean(), rel=1e-12 if backend.name == "numpy" else 1e-9)
    assert row["var"] == pytest.approx(np.mean(d * d), rel=1e-6)
    kurtosis = np.mean(d**4) / np.mean(d * d) ** 2 - 3
    assert row["kurtosis"] == pytest.approx(kurtosis, abs=3e-6)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_symmetric_data_cancel_to_the_scale_of_what_cancels(backend, dtype, rng):
    half = rng.standard_t(4, 10_000)
    words, x = store(rng.permutation(np.concatenate((half, -half))), dtype)
    row = columns(moments_of(backend, words, dtype))
    for name in ("mean", "skewness"):
        assert abs(row[name]) <= tolerance(backend) * SCALES[name](x)


@pytest.mark.parametrize("epsilon", [1e-8, 1e-3, 0.1, 0.3])
def test_sparsity_decides_as_float64_at_the_very_epsilon(backend, epsilon):
    nearest = np.float32(epsilon)
    around = [np.nextafter(nearest, np.float32(side)) for side in (0, 1)]
    x = np.array([nearest, -nearest, *around], np.float32)
    count = moments_of(backend, x, "F32", zero_epsilon=epsilon).small_count
    assert count == np.count_nonzero(np.abs(x.astype(np.float64)) <= epsilon)


@pytest.mark.parametrize("dtype", ["F32", "F64", "F16", "BF16"])
def test_subnormals_are_not_zeros(backend, dtype):
    smallest = np.array([0, 1, 3], DTYPES[dtype].storage)
    words = np.array([0, 1, 3], f"<u{DTYPES[dtype].itemsize}").view(smallest.dtype)
    moments = moments_of(backend, words, dtype)
    values = decoded(words, dtype)
    assert (moments.zero_count, moments.small_count) == (
        1,
        np.count_nonzero(np.abs(values) <= 1e-8),
    )
    assert (moments.min, moments.max) == (0.0, values[2])


@pytest.mark.parametrize("scale", [1e80, 1e160, 1e200, 1e-200])
def test_float64_files_near_the_ends_of_the_range_give_no_false_number(backend, scale, rng):
    x = scale * (1 + rng.standard_normal((1100, 64)))
    row = compute_metrics(measure(backend, x, "F64"), "full")
    unit = np.linalg.svd(x / scale, compute_uv=False)
    for name, value in (
        ("mean", np.mean(x / scale)),
        ("frobenius_norm", np.linalg.norm(unit)),
        ("spectral_norm", unit[0]),
        ("nuclear_norm", unit.sum()),
    ):
        assert row[name] / scale == pytest.approx(value, rel=1e-10), name
    assert row["rank"] == row["rank_numpy"] == 64
    assert row["noise_rank"] in (64, None)
    for name in ("skewness", "kurtosis", "q4_nrmse", "q8_nrmse"):
        assert row[name] is None or np.isfinite(row[name]), name


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("held", FLOATS)
def test_value_dtype_and_rounding_variance_follow_from_the_values(backend, dtype, held, rng):
    spread = 10.0 ** rng.uniform(-6, 4, 3000) * rng.choice([-1, 0, 1], 3000)
    words, values = store(store(spread, held)[1], dtype)
    narrower = [n for n in FLOAT_FORMATS if FLOAT_FORMATS[n].bits < FLOAT_FORMATS[dtype].bits]
    fits = [n for n in narrower if np.array_equal(store(values, n)[1], values)]
    expected = fits[0] if fits else dtype
    moments = moments_of(backend, words, dtype)
    assert moments.value_dtype == expected
    variance = np.mean(ulp(values, expected) ** 2) / 12
    assert moments.rounding_variance == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
def test_zeros_fit_the_narrowest_format(backend, dtype):
    moments = moments_of(backend, store(np.zeros(10), dtype)[0], dtype)
    assert moments.value_dtype == (dtype if DTYPES[dtype].itemsize == 1 else "F8_E4M3")
