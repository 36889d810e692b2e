"""Leading singular vectors against the full SVD."""

import numpy as np
import pytest
from matrices import with_spectrum

from mlx_probe.compute.spectrum.leading import STARTING_VECTORS, leading_vectors

COUNT = 8


@pytest.mark.parametrize(("size", "hidden"), [(200, 90), (300, 700), (128, 60), (129, 1100)])
@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_leading_vectors_are_those_of_the_svd(rng, size, hidden, decay):
    sigma = np.arange(1.0, min(size, hidden) + 1) ** -decay
    matrix = with_spectrum(rng, size, hidden, sigma)
    start = rng.standard_normal((hidden, STARTING_VECTORS))
    vectors = leading_vectors(matrix, COUNT, start)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(COUNT), atol=1e-12)
    expected = np.linalg.svd(matrix)[0][:, :COUNT]
    cosines = np.linalg.svd(vectors.T @ expected, compute_uv=False)
    assert cosines.min() > (1 - 1e-3 if decay == 1 else 0.97)
    # In float32 and at any scale the same.
    for other in (matrix.astype(np.float32), 1e-170 * matrix, 1e170 * matrix):
        again = leading_vectors(other, COUNT, start)
        assert np.linalg.svd(again.T @ vectors, compute_uv=False).min() > 1 - 1e-6


def test_leading_vectors_of_a_matrix_of_low_rank(rng):
    matrix = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 150))
    vectors = leading_vectors(matrix, COUNT, rng.standard_normal((150, STARTING_VECTORS)))
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(COUNT), atol=1e-9)
    np.testing.assert_allclose(vectors[:, :3] @ (vectors[:, :3].T @ matrix), matrix, atol=1e-9)
