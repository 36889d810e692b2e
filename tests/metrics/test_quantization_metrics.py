import mlx.core as mx
import numpy as np
import pytest
from matrices import FLOATS, measure, store

from mlx_probe.compute.backends.quantization import GROUP_SIZE, QUANTIZED_BITS, affine_round
from mlx_probe.core.records import QuantizationError
from mlx_probe.metrics import Measurement, compute_metrics


def columns(backend, words, dtype, **options):
    return compute_metrics(measure(backend, words, dtype, **options), "full")


def official(x, bits):
    """Round trip through MLX's own quantization."""
    w = mx.array(x)
    with mx.stream(mx.cpu):
        packed = mx.quantize(w, group_size=GROUP_SIZE, bits=bits)
        return np.array(mx.dequantize(*packed, group_size=GROUP_SIZE, bits=bits))


def cases(rng):
    x = rng.standard_normal((6, 4 * GROUP_SIZE)).astype(np.float32)
    x[0] = 0
    x[1] = 0.7
    x[2] = np.abs(x[2])
    x[3] = -np.abs(x[3])
    x[4, ::7] *= 100
    return x * np.float32(0.02)


@pytest.mark.parametrize("bits", QUANTIZED_BITS)
def test_rounding_is_that_of_mlx(bits, rng):
    x = cases(rng)
    result = affine_round(np, x, bits, None)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, official(x, bits), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("bits", QUANTIZED_BITS)
def test_one_text_serves_both_namespaces(bits, rng):
    x = cases(rng)
    with mx.stream(mx.cpu):
        result = np.array(affine_round(mx, mx.array(x), bits, None))
    np.testing.assert_allclose(result, affine_round(np, x, bits, None), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(100, GROUP_SIZE), (10, 20 * GROUP_SIZE), (1500, GROUP_SIZE)])
def test_nrmse_of_float32_is_that_of_mlx(backend, shape, rng):
    x = 0.02 * rng.standard_normal(shape).astype(np.float32)
    row = columns(backend, x, "F32")
    for bits in QUANTIZED_BITS:
        error = np.linalg.norm(official(x, bits).astype(float) - x) / np.linalg.norm(
            x.astype(float)
        )
        assert row[f"q{bits}_nrmse"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("dtype", FLOATS)
def test_more_bits_lose_less(backend, dtype, rng):
    words, _ = store(rng.standard_normal((64, 2 * GROUP_SIZE)), dtype)
    row = columns(backend, words, dtype)
    assert 0 < row["q8_nrmse"] < 0.03 < row["q4_nrmse"] < 0.2


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_what_is_on_the_grid_loses_nothing(backend, dtype, rng):
    x = rng.integers(0, 16, (8, 3 * GROUP_SIZE)).astype(float)
    x[:, ::GROUP_SIZE], x[:, 1::GROUP_SIZE] = 0, 15
    assert columns(backend, store(x, dtype)[0], dtype)["q4_nrmse"] == 0
    x = rng.integers(0, 256, (8, 3 * GROUP_SIZE)).astype(float)
    x[:, ::GROUP_SIZE], x[:, 1::GROUP_SIZE] = 0, 255
    assert columns(backend, store(x, dtype)[0], dtype)["q8_nrmse"] == 0


@pytest.mark.parametrize("cols", [1, 63, 65, 100])
def test_no_nrmse_where_groups_do_not_fit(backend, cols, rng):
    row = columns(backend, rng.standard_normal((64, cols)), "F64")
    assert row["q4_nrmse"] is row["q8_nrmse"] is None
    assert row["outlier_rows"] is not None


def test_packed_weights_and_zero_matrices_have_no_nrmse(backend):
    row = columns(backend, np.zeros((4, GROUP_SIZE), np.float32), "F32")
    assert row["q4_nrmse"] is row["q8_nrmse"] is None
    assert row["outlier_rows"] == row["outlier_columns"] == 0
    zero = measure(backend, np.ones((4, GROUP_SIZE), np.float32), "F32")
    # What `analyze` passes for a packed weight: maxima, and no widths to round to.
    packed = QuantizationError({}, np.ones(4), np.ones(GROUP_SIZE))
    row = compute_metrics(Measurement(zero.moments, 1e-6, zero.spectrum, packed), "full")
    assert row["q4_nrmse"] is row["q8_nrmse"] is None
    assert row["outlier_rows"] == 0


@pytest.mark.parametrize("scale", [1e25, 1e37, 1e-3])
def test_nrmse_does_not_know_the_scale(backend, scale, rng):
    # Not far below 1: MLX's smallest scale is 1e-7.
    x = rng.uniform(-1, 1, (32, GROUP_SIZE)).astype(np.float32)
    one, other = columns(backend, x, "F32"), columns(backend, np.float32(scale) * x, "F32")
    for name in ("q4_nrmse", "q8_nrmse"):
        assert other[name] == pytest.approx(one[name], rel=1e-3)


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("shape", [(64, 64), (256, 1100), (1100, 128), (24, 5000)])
def test_gaussian_data_have_no_outliers(backend, dtype, shape, rng):
    row = columns(backend, store(0.02 * rng.standard_normal(shape), dtype)[0], dtype)
    assert row["outlier_rows"] == row["outlier_columns"] == 0


@pytest.mark.parametrize("shape", [(300, 80), (80, 1300), (128, 128), (1300, 80)])
def test_planted_outliers_are_counted(backend, shape, rng):
    x = rng.uniform(-1, 1, shape).astype(np.float32)
    rows, cols = rng.choice(shape[0], 5, replace=False), rng.choice(shape[1], 5, replace=False)
    x[rows, cols] = -40
    x[rows[0], cols[:3]] = 40
    row = columns(backend, x, "F32")
    # The largest of the threshold: twice sqrt(2 ln 1300) times an rms below 1.1.
    assert 2 * np.sqrt(2 * np.log(1300)) * np.sqrt(np.mean(np.square(x))) < 40
    assert (row["outlier_rows"], row["outlier_columns"]) == (5, 5)
