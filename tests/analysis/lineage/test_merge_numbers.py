"""The formulas of merges against independent ones: least squares, arcs, rounding."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matrices import store

from mlx_probe.analysis.lineage.merge_fit import Model, TensorSample, fit_tensor, pool
from mlx_probe.analysis.lineage.slerp import slerp_length, slerp_parameter, slerp_weights
from mlx_probe.analysis.lineage.storage_noise import (
    packed_noise,
    rounded,
    rounding_noise,
    value_format,
)
from mlx_probe.core.dtypes import FLOAT_FORMATS


def sample(child, parents, form=None, noise=1.0):
    parents = tuple(np.asarray(p, np.float32) for p in parents)
    child = np.asarray(child, np.float32)
    return TensorSample("w", 0, "mlp", child, parents, noise, (0.0,) * len(parents), form, True)


@given(
    st.integers(2, 4), st.integers(0, 2**32 - 1), st.booleans(), st.floats(1e-3, 1), st.integers(0)
)
def test_weights_are_those_of_lapack(count, seed, free, apart, reference):
    """Against `lstsq` in extended precision's stead: float64 on the parents themselves."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal(400)
    parents = np.float32([base + apart * rng.standard_normal(400) for _ in range(count)])
    child = np.float32(rng.uniform(-1, 2, count) @ parents + 0.1 * rng.standard_normal(400))
    reference %= count
    fit = fit_tensor(sample(child, parents), Model(reference, free, count))
    x, y = parents.T.astype(np.float64), child.astype(np.float64)
    if free:
        weights = np.linalg.lstsq(x, y, rcond=None)[0]
    else:
        # Lagrange multiplier for a sum of 1.
        a = np.block([[x.T @ x, np.ones((count, 1))], [np.ones((1, count)), np.zeros((1, 1))]])
        weights = np.linalg.solve(a, np.append(x.T @ y, 1.0))[:count]
    np.testing.assert_allclose(fit.weights, weights, rtol=1e-6, atol=1e-6)
    left = y - x @ fit.weights
    p = count if free else count - 1
    assert fit.residual == pytest.approx(math.sqrt(left @ left / (400 - p)), rel=1e-6)
    if free:
        covariance = np.linalg.inv(x.T @ x) * max(fit.residual, 1.0) ** 2
        # A weak prior makes large errors a little smaller.
        np.testing.assert_allclose(fit.errors, np.sqrt(np.diag(covariance)), rtol=1e-2)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_pool_is_one_regression_over_all(seed, free):
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(3):
        parents = np.float32(rng.standard_normal((3, 100)))
        samples.append(sample(rng.standard_normal(100), parents, noise=1e3))
    model = Model(1, free, 3)
    pooled = pool([fit_tensor(each, model) for each in samples], model)
    whole = sample(
        np.concatenate([each.child for each in samples]),
        np.concatenate([each.parents for each in samples], axis=1),
        noise=1e3,
    )
    fit = fit_tensor(whole, model)
    np.testing.assert_allclose(pooled.weights, fit.weights, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(pooled.errors, fit.errors, rtol=1e-3)


def test_a_parent_that_is_equal_gets_an_error_and_no_infinity():
    rng = np.random.default_rng(0)
    a = rng.standard_normal(200)
    fit = fit_tensor(sample(a, [a, a]), Model(0, True, 2))
    assert np.isfinite(fit.weights).all()
    assert fit.weights.sum() == pytest.approx(1)
    assert fit.errors.max() > 100


def test_zeros_and_few_elements_have_no_fit():
    assert fit_tensor(sample(np.zeros(50), np.zeros((2, 50))), Model(0, True, 2)) is None
    assert fit_tensor(sample(np.ones(7), np.ones((2, 7))), Model(0, True, 2)) is None


@given(st.floats(-1, 2), st.floats(-0.999, 0.9994))
def test_the_way_back_from_an_arc(t, cosine):
    theta = math.acos(cosine)
    assume(abs(t * theta) < 3.1)
    a, b = slerp_weights(t, cosine)
    assert slerp_parameter(a, b, cosine) == pytest.approx(t, abs=1e-9)
    assert slerp_length(a, b, cosine) == pytest.approx(1, abs=1e-9)


@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_an_arc_keeps_the_length_of_unit_vectors(t, seed):
    """Shoemake's definition: the point turns from one to the other by t of the angle."""
    rng = np.random.default_rng(seed)
    x, y = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 5)))
    assume(abs(x @ y) < 0.9995)
    a, b = slerp_weights(t, float(x @ y))
    point = a * x + b * y
    assert np.linalg.norm(point) == pytest.approx(1, abs=1e-9)
    assert math.acos(min(1, point @ x)) == pytest.approx(t * math.acos(x @ y), abs=1e-6)


def test_nearly_collinear_vectors_are_interpolated_linearly():
    assert slerp_weights(0.25, 0.9996) == (0.75, 0.25)
    assert slerp_weights(0.25, -0.9996) == (0.75, 0.25)


@pytest.mark.parametrize("form", ["BF16", "F16", "F32"])
def test_rounding_is_that_of_the_format(form, rng):
    x = rng.standard_normal(20000) * 10.0 ** rng.uniform(-9, 3, 20000)
    values = store(x, form)[1]
    assert value_format(values) == form
    if form != "BF16":
        assert not np.isinf(values).any()
    np.testing.assert_array_equal(rounded(x, FLOAT_FORMATS[form]), store(x, form)[1])
    actual = math.sqrt(np.square(values - x).mean())
    assert rounding_noise(values, form) == pytest.approx(actual, rel=0.05)


def test_numbers_that_bfloat16_holds_are_not_called_float16(rng):
    assert value_format(store(rng.standard_normal(100), "BF16")[1]) == "BF16"
    assert value_format(np.array([1e-30])) == "F32"
    assert value_format(np.zeros(4)) == "BF16"


@pytest.mark.parametrize("bits", [4, 8])
def test_noise_of_integers_with_a_scale(bits, rng):
    x = rng.standard_normal((64, 256))
    groups = x.reshape(-1, 32)
    low = groups.min(axis=1, keepdims=True)
    step = (groups.max(axis=1, keepdims=True) - low) / (2**bits - 1)
    values = (np.rint((groups - low) / step) * step + low).reshape(x.shape)
    actual = math.sqrt(np.square(values - x).mean())
    assert packed_noise(values, bits + 0.5, False) == pytest.approx(actual, rel=0.05)


def test_noise_of_8_bit_floats(rng):
    x = rng.standard_normal((64, 256))
    values = store(x, "F8_E4M3")[1]
    actual = math.sqrt(np.square(values - x).mean())
    assert packed_noise(values, 8.0, True) == pytest.approx(actual, rel=0.1)
