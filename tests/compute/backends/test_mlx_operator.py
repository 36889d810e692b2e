"""The Gram matrix as an operator; numpy's is held to the same."""

import numpy as np
import pytest
from matrices import FLOATS, orthonormal, slabs_of, store

FLOAT32_EPS = float(np.finfo(np.float32).eps)


def operator_of(backend, words, dtype, extent=1024):
    operator = backend.operator_pass(*words.shape, dtype)
    for part in slabs_of(words, extent):
        operator.add(backend.load(part, dtype))
    return operator


def check(operator, values, v):
    short = values if values.shape[0] >= values.shape[1] else values.T
    result = operator.apply(v)
    assert result.shape == v.shape
    assert result.dtype == np.float64
    # Scaled first: squares of huge numbers are beyond float32 anyway.
    scale = np.abs(values).max() or 1.0
    short = short / scale
    bound = 64 * FLOAT32_EPS * np.linalg.norm(short) ** 2
    assert np.linalg.norm(result / scale / scale - short.T @ (short @ v), axis=0).max() <= bound


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (64, 64), (1, 5), (5, 1)])
@pytest.mark.parametrize("extent", [1024, 100])
def test_products_are_those_of_the_gram_matrix(backend, dtype, shape, extent, rng):
    words, values = store(rng.standard_normal(shape), dtype)
    operator = operator_of(backend, words, dtype, extent)
    for width in (1, 8):
        v = orthonormal(rng, min(shape), min(width, *shape))
        check(operator, values, v)


@pytest.mark.parametrize("scale", [1e-42, 1e-38, 1e-30, 1e30, 1e38])
def test_products_neither_overflow_nor_underflow(backend, scale, rng):
    words, values = store(scale * rng.uniform(-1, 1, (200, 10)), "F32")
    check(operator_of(backend, words, "F32", 64), values, orthonormal(rng, 10, 3))


def test_slabs_of_very_different_scale(backend, rng):
    x = rng.standard_normal((300, 10))
    x[:100] *= 1e-35
    x[200:] *= 1e30
    words, values = store(x, "F32")
    check(operator_of(backend, words, "F32", 100), values, orthonormal(rng, 10, 3))


def test_zeros(backend):
    operator = operator_of(backend, np.zeros((30, 4), np.float32), "F32")
    assert not operator.apply(np.eye(4)).any()


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (64, 64), (1, 5)])
def test_half_products_are_those_of_the_lines(backend, dtype, shape, rng):
    x = rng.standard_normal(shape)
    x[: shape[0] // 2] *= 1e30 if dtype != "F64" else 1e100
    words, values = store(x, dtype)
    operator = operator_of(backend, words, dtype, 100)
    lines = values if shape[0] >= shape[1] else values.T
    bound = 8 * FLOAT32_EPS * np.linalg.norm(lines)
    v, u = orthonormal(rng, min(shape), 1), orthonormal(rng, max(shape), 1)
    for result, expected in ((operator.along(v), lines @ v), (operator.across(u), lines.T @ u)):
        assert result.shape == expected.shape
        assert np.linalg.norm(result - expected) <= bound


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_an_operator_outlives_the_memory_of_its_slabs(backend, dtype, rng):
    words, values = store(rng.standard_normal((60, 10)), dtype)
    view = words.view()
    view.flags.writeable = False  # as the map of a file
    operator = operator_of(backend, view, dtype)
    words[:] = 0
    check(operator, values, orthonormal(rng, 10, 3))
