"""Leading singular vectors against the full SVD, with every backend's products."""

import numpy as np
import pytest
from matrices import slabs_of, store, with_spectrum

from mlx_probe.compute.spectrum.leading import (
    STARTING_VECTORS,
    leading_vectors,
    leading_vectors_of_small,
)

COUNT = 8


def leading(backend, matrix, start, axis=0, dtype="F64"):
    matrix = matrix if axis == 0 else matrix.T
    words, _ = store(matrix, dtype)
    operator = backend.operator_pass(*words.shape, dtype)
    for part in slabs_of(words, 150):
        operator.add(backend.load(part, dtype))
    return leading_vectors(operator, *words.shape, axis, COUNT, start)


def agreement(one, other):
    """The least cosine of the principal angles."""
    return np.linalg.svd(one.T @ other, compute_uv=False).min()


@pytest.mark.parametrize(("size", "hidden"), [(200, 90), (300, 700), (129, 1100), (150, 150)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_leading_vectors_are_those_of_the_svd(backend, rng, size, hidden, axis, decay):
    sigma = np.arange(1.0, min(size, hidden) + 1) ** -decay
    matrix = with_spectrum(rng, size, hidden, sigma)
    start = rng.standard_normal((hidden, STARTING_VECTORS))
    vectors = leading(backend, matrix, start, axis)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(COUNT), atol=1e-12)
    expected = np.linalg.svd(matrix)[0][:, :COUNT]
    assert agreement(vectors, expected) > (1 - 1e-3 if decay == 1 else 0.97)
    # In float32 and at any scale the same.
    for other in (
        leading(backend, matrix, start, axis, "F32"),
        leading(backend, 1e-120 * matrix, start, axis),
        leading(backend, 1e120 * matrix, start, axis),
    ):
        assert agreement(other, vectors) > 1 - 1e-6


def test_leading_vectors_of_a_matrix_of_low_rank(backend, rng):
    matrix = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 150))
    vectors = leading(backend, matrix, rng.standard_normal((150, STARTING_VECTORS)))
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(COUNT), atol=1e-9)
    np.testing.assert_allclose(vectors[:, :3] @ (vectors[:, :3].T @ matrix), matrix, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-170, 1.0, 1e170])
def test_short_vectors_come_from_the_whole_gram_matrix(rng, scale):
    matrix = with_spectrum(rng, 40, 90, np.arange(1.0, 41) ** -1)
    vectors = leading_vectors_of_small(scale * matrix, COUNT)
    expected = np.linalg.svd(matrix)[0][:, :COUNT]
    assert agreement(vectors, expected) > 1 - 1e-12
