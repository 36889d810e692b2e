import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matrices import FLOATS, e4m3_table, moments_of, store

from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.backends.powersums import PowerSums
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.records import QUANTILES
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.metrics.moments import MOMENTS

INTEGERS = [name for name, dtype in DTYPES.items() if dtype.kind == "int"]
EXACT_QUANTILES = [name for name, dtype in DTYPES.items() if dtype.itemsize <= 2]

# Shape columns may cancel to nearly nothing: they are compared on the scale of what cancels
# (mean: the spread; skewness: 1; excess kurtosis: the 3 that is subtracted), the others
# relative to themselves.
SCALE = {"mean": lambda x: x.std(), "skewness": lambda x: 1.0, "kurtosis": lambda x: 3.0}


def columns(moments):
    return compute_metrics(Measurement(moments, 1e-6), "basic")


def expected(x, zero_epsilon=1e-8):
    d = x - x.mean()
    return {
        "mean": x.mean(),
        "std": x.std(),
        "var": x.var(),
        "min": x.min(),
        "max": x.max(),
        "abs_max": np.abs(x).max(),
        "rms": np.sqrt(np.mean(x * x)),
        "skewness": np.mean(d**3) / x.var() ** 1.5,
        "kurtosis": np.mean(d**4) / x.var() ** 2 - 3,
        "sparsity": np.mean(np.abs(x) <= zero_epsilon),
        "zero_fraction": np.mean(x == 0),
    }


def check(row, x, tolerance):
    for name, value in expected(x).items():
        scale = SCALE[name](x) if name in SCALE else 0.0
        assert abs(row[name] - value) <= tolerance * max(abs(value), scale), name


DATA = {
    "gaussian": lambda rng: 0.02 * rng.standard_normal(70_001),
    "heavy tails": lambda rng: 0.1 * rng.standard_t(3, 50_000).clip(-30, 30),
    "norm weights": lambda rng: 1 + 0.01 * rng.standard_normal(4096),
    "few values": lambda rng: rng.integers(-3, 4, 30_000).astype(float),
    "sparse": lambda rng: rng.standard_normal(20_000) * (rng.random(20_000) < 0.1),
    "skewed": lambda rng: rng.exponential(1.0, 40_000),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", DATA)
def test_moments_of_floats(backend, dtype, kind):
    words, values = store(DATA[kind](np.random.default_rng(3)), dtype)
    row = columns(moments_of(backend, words, dtype))
    exact = backend.name == "numpy" or dtype != "F32"
    check(row, values, 1e-10 if exact else 1e-6)
    assert row["nan_count"] == row["inf_count"] == 0


@pytest.mark.parametrize("dtype", INTEGERS)
def test_moments_of_integers(backend, dtype):
    info = np.iinfo(DTYPES[dtype].storage)
    rng = np.random.default_rng(4)
    words = rng.integers(max(info.min, -1000), min(info.max, 1000), 5000).astype(info.dtype)
    row = columns(moments_of(backend, words, dtype))
    check(row, words.astype(np.float64), 1e-10)
    assert row["value_dtype"] is None


def test_moments_of_booleans(backend):
    words = np.array([0, 1, 1, 0, 255], np.uint8)
    assert columns(moments_of(backend, words, "BOOL"))["mean"] == pytest.approx(0.6)


@pytest.mark.parametrize("dtype", EXACT_QUANTILES)
def test_quantiles_of_narrow_types_are_numpys(backend, dtype):
    rng = np.random.default_rng(5)
    if DTYPES[dtype].kind == "float":
        words, values = store(rng.standard_normal(9_999), dtype)
    else:
        words = rng.integers(0, 100, 9_999).astype(DTYPES[dtype].storage)
        values = (words != 0) if dtype == "BOOL" else words
    result = moments_of(backend, words, dtype).quantiles
    np.testing.assert_allclose(
        result, np.quantile(values.astype(np.float64), QUANTILES), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [("F32", 2**-11), ("F64", 2**-8), ("I32", 2**-8)])
def test_quantiles_of_wide_types_are_within_a_bin(backend, dtype, tolerance):
    words, values = store(1e4 * np.random.default_rng(6).standard_normal(30_000), dtype)
    result = moments_of(backend, words, dtype).quantiles
    reference = np.quantile(values, QUANTILES)
    np.testing.assert_allclose(result, reference, rtol=tolerance, atol=1.0)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, st.integers(1, 300), elements=st.floats(-(2.0**60), 2.0**60, width=32)),
    st.integers(1, 299),
)
def test_power_sums_add_up(x, cut):
    x = x.astype(np.float64)
    whole = PowerSums.of(x)
    parts = [part for part in (x[:cut], x[cut:]) if part.size]
    merged = PowerSums()
    for part in parts:
        merged = merged.merge(PowerSums.of(part))
    spread = np.abs(x).max()
    assert merged.count == whole.count
    assert abs(merged.mean - whole.mean) <= 1e-12 * spread
    for power in (2, 3, 4):
        result, value = getattr(merged, f"s{power}"), getattr(whole, f"s{power}")
        assert abs(result - value) <= 1e-10 * x.size * spread**power


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_inf_are_counted_and_left_out(backend, dtype):
    words, values = store(np.random.default_rng(7).standard_normal(3000), dtype)
    special, _ = store(np.array([np.nan, np.inf, -np.inf, np.nan]), dtype)
    if dtype == "F8_E4M3":  # has no infinities
        special, infs = np.array([0x7F, 0xFF], np.uint8), 0
    else:
        infs = 2
    words = np.concatenate((words, special))
    moments = moments_of(backend, words, dtype)
    assert (moments.nan_count, moments.inf_count) == (2, infs)
    check(columns(moments), values, 1e-6)


def test_nothing_but_nan_leaves_no_number(backend):
    row = columns(moments_of(backend, np.full(10, np.nan, np.float32), "F32"))
    for name in ("mean", "std", "min", "max", "q50", "sparsity", "skewness", "rms"):
        assert row[name] is None, name


def test_constant_tensor_has_no_shape(backend):
    row = columns(moments_of(backend, np.full(1000, 0.75, np.float32), "F32"))
    assert (row["mean"], row["var"], row["q50"]) == (0.75, 0.0, 0.75)
    assert row["skewness"] is None
    assert row["kurtosis"] is None


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 1e37])
def test_float32_scales_neither_overflow_nor_underflow(backend, scale):
    x = (scale * np.random.default_rng(8).standard_normal(5000).clip(-4, 4)).astype(np.float32)
    row = columns(moments_of(backend, x, "F32"))
    reference = expected(x.astype(np.float64) / scale)
    assert row["std"] / scale == pytest.approx(reference["std"], rel=1e-6)
    assert row["kurtosis"] == pytest.approx(reference["kurtosis"], abs=3e-6)


def test_sparsity_counts_up_to_epsilon(backend):
    x = np.array([0.0, -0.0, 1e-9, -1e-8, 2e-8, 1.0], np.float32)
    moments = moments_of(backend, x, "F32", zero_epsilon=float(np.float32(1e-8)))
    assert (moments.zero_count, moments.small_count) == (2, 4)


@pytest.mark.parametrize("dtype", FLOATS)
def test_value_dtype_is_the_narrowest_that_holds_every_element(backend, dtype):
    rng = np.random.default_rng(9)
    for narrow in FLOATS[FLOATS.index(dtype) :]:
        if DTYPES[narrow].itemsize == DTYPES[dtype].itemsize and narrow != dtype:
            continue
        _, values = store(rng.standard_normal(2000), narrow)
        words, _ = store(values, dtype)
        assert moments_of(backend, words, dtype).value_dtype == narrow


def test_value_dtype_looks_past_the_beginning(backend):
    x = np.ones(100_000, np.float32)
    assert moments_of(backend, x, "F32").value_dtype == "F8_E4M3"
    x[-1] = 1 / 3
    assert moments_of(backend, x, "F32").value_dtype == "F32"


@pytest.mark.parametrize(("dtype", "numpy_type"), [("F32", np.float32), ("F16", np.float16)])
def test_rounding_variance_is_that_of_numpys_spacing(backend, dtype, numpy_type):
    x = (10.0 ** np.random.default_rng(10).uniform(-9, 3, 4000)).astype(numpy_type)
    ulp = np.abs(np.spacing(x)).astype(np.float64)
    result = moments_of(backend, x, dtype).rounding_variance
    assert result == pytest.approx(np.mean(ulp**2) / 12, rel=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # signalling NaNs
def test_every_code_decodes_to_its_definition(backend):
    codes = np.arange(256, dtype=np.uint8)
    e5m2 = (codes.astype(np.uint16) << 8).view(np.float16)
    words = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    bfloat16 = (words.astype(np.uint32) << 16).view(np.float32)
    for stored, dtype, values in (
        (codes, "F8_E4M3", e4m3_table()),
        (codes, "F8_E5M2", e5m2),
        (words, "BF16", bfloat16),
    ):
        loaded = np.array(backend.load(stored, dtype).values, np.float64)
        np.testing.assert_array_equal(loaded, np.asarray(values, np.float64))
        np.testing.assert_array_equal(decode(stored, dtype), np.asarray(values, np.float32))


def test_e4m3_is_mlx_s():
    mx = pytest.importorskip("mlx.core")
    codes = np.arange(256, dtype=np.uint8)
    theirs = np.array(mx.from_fp8(mx.array(codes), mx.float32, stream=mx.cpu))
    finite = np.isfinite(e4m3_table())
    np.testing.assert_array_equal(theirs[finite], e4m3_table()[finite])


def test_every_moment_column_is_filled():
    row = columns(moments_of(NumpyBackend(), np.float32([1.0, 2.0, 4.0]), "F32"))
    assert all(row[metric.name] is not None for metric in MOMENTS.metrics)
