import mlx.core as mx
import numpy as np
import pytest

from mlx_probe.lab.train.muon import Muon
from mlx_probe.lab.train.polar_express import LOWER, STEPS, coefficients, orthogonalize

SHAPES = [(8, 8), (64, 64), (128, 352), (352, 128), (1, 16), (16, 1), (96, 97)]


def with_singular_values(rng, shape, values):
    left, _ = np.linalg.qr(rng.standard_normal((shape[0], len(values))))
    right, _ = np.linalg.qr(rng.standard_normal((shape[1], len(values))))
    return (left * values) @ right.T, left @ right.T


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1e-25, 1.0, 1e15])
def test_singular_values_become_one(rng, shape, size):
    short = min(shape)
    values = np.geomspace(1.0, 4 * LOWER, short)
    # In the norm that the iteration divides by, none is below LOWER.
    assert values.min() / (values**4).sum() ** 0.25 >= LOWER
    matrix, factor = with_singular_values(rng, shape, size * values)
    found = np.array(orthogonalize(mx.array(matrix.astype(np.float32))))
    singular = np.linalg.svd(found.astype(np.float64), compute_uv=False)
    assert np.abs(singular - 1).max() < 1e-2
    assert np.linalg.norm(found - factor) / np.linalg.norm(factor) < 5e-3


@pytest.mark.parametrize("shape", [(64, 64), (128, 352), (352, 128)])
def test_gaussian_matrices_become_orthogonal(rng, shape):
    matrix = rng.standard_normal(shape).astype(np.float32)
    found = np.array(orthogonalize(mx.array(matrix)), np.float64)
    before, after = (np.linalg.svd(each, compute_uv=False) for each in (matrix, found))
    large = before >= LOWER * (before**4).sum() ** 0.25
    assert large.sum() >= min(shape) - 1
    assert np.abs(after[large] - 1).max() < 1e-2
    assert after.max() < 1.01


def test_matrices_of_one_shape_together_are_as_alone(rng):
    matrices = mx.array(rng.standard_normal((3, 24, 40)).astype(np.float32))
    together = np.array(orthogonalize(matrices))
    for i in range(3):
        np.testing.assert_allclose(together[i], np.array(orthogonalize(matrices[i])), atol=1e-6)


def test_bfloat16_is_computed_in_float32(rng):
    matrix = mx.array(rng.standard_normal((32, 48)).astype(np.float32)).astype(mx.bfloat16)
    found = orthogonalize(matrix)
    assert found.dtype == mx.float32
    assert np.abs(np.linalg.svd(np.array(found), compute_uv=False) - 1).max() < 1e-2


def test_zero_matrix_stays_zero():
    assert not np.array(orthogonalize(mx.zeros((4, 6)))).any()


def test_polynomials_map_the_interval_to_one():
    x = np.linspace(LOWER, 1, 200_001)
    for a, b, c in coefficients():
        x = a * x + b * x**3 + c * x**5
    assert len(coefficients()) == STEPS
    assert np.abs(x - 1).max() < 1e-3


def test_first_polynomial_has_the_smallest_largest_error(rng):
    # Remez: no other odd quintic is nearer to 1 on the interval.
    x = np.linspace(LOWER, 1, 20_001)
    basis = np.stack([x, x**3, x**5], axis=1)
    best = np.array(coefficients()[0])
    error = np.abs(1 - basis @ best).max()
    for change in rng.standard_normal((200, 3)) * 1e-2 * np.abs(best):
        assert np.abs(1 - basis @ (best + change)).max() > error


def test_update_is_that_of_the_formula(rng):
    weight = rng.standard_normal((48, 12)).astype(np.float32)
    gradients = rng.standard_normal((2, 48, 12)).astype(np.float32)
    optimizer = Muon(learning_rate=0.1, momentum=0.9, weight_decay=0.5)
    optimizer.init({"w": mx.array(weight)})
    optimizer.state["w"]["decay"] = mx.array(2.0)
    found, v = {"w": mx.array(weight)}, np.zeros((48, 12))
    for gradient in gradients:
        found = optimizer.apply_gradients({"w": mx.array(gradient)}, found)
        v = 0.9 * v + 0.1 * gradient
        left, _, right = np.linalg.svd(0.9 * v + 0.1 * gradient, full_matrices=False)
        weight = weight * (1 - 0.1 * 0.5 * 2.0) - 0.1 * 2.0 * left @ right
    np.testing.assert_allclose(np.array(found["w"]), weight, atol=2e-3)
