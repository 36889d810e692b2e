import numpy as np
import pytest
from matrices import orthonormal

from mlx_probe.compute.spectrum import lanczos
from mlx_probe.compute.spectrum.lanczos import BLOCK, block_lanczos


def symmetric(rng, eigenvalues):
    q = orthonormal(rng, len(eigenvalues), len(eigenvalues))
    return (q * eigenvalues) @ q.T


def compressed(matrix, seed=0):
    return block_lanczos(lambda v: matrix @ v, len(matrix), np.random.default_rng(seed))


@pytest.mark.parametrize("size", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_a_small_operator_is_compressed_to_itself(rng, size):
    expected = np.sort(rng.standard_normal(size))
    compression = compressed(symmetric(rng, expected))
    assert compression.is_complete
    assert not compression.remainder.any()
    np.testing.assert_allclose(np.linalg.eigvalsh(compression.matrix), expected, atol=1e-13)


def test_a_space_keeps_the_moments_of_its_first_block(rng, monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS", 3 * BLOCK)
    matrix = symmetric(rng, np.linspace(-1, 2, 300))
    compression = compressed(matrix)
    assert (compression.is_complete, compression.last, compression.probes) == (
        False,
        2 * BLOCK,
        BLOCK,
    )
    first = np.linalg.qr(np.random.default_rng(0).standard_normal((BLOCK, 300)).T)[0]
    for power in range(8):
        inside = np.linalg.matrix_power(compression.matrix, power)[:BLOCK, :BLOCK]
        exact = first.T @ np.linalg.matrix_power(matrix, power) @ first
        assert np.allclose(inside, exact, atol=1e-10) == (power < 6)


def test_an_eigenvalue_lies_within_each_residual(rng, monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS", 5 * BLOCK)
    spectrum = np.logspace(-6, 0, 300)
    compression = compressed(symmetric(rng, spectrum))
    values, vectors = np.linalg.eigh(compression.matrix)
    residuals = np.linalg.norm(compression.remainder @ vectors[compression.last :], axis=0)
    nearest = np.abs(values[:, None] - spectrum).min(axis=1)
    assert np.all(nearest <= residuals + 1e-12)
    assert residuals[-1] < 1e-6
    assert residuals.max() > 1e-3


def test_an_invariant_space_is_continued_elsewhere(rng, monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS", 4 * BLOCK)
    # One block and its image are all that two eigenvalues let a space grow to.
    compression = compressed(symmetric(rng, np.repeat([3.0, 1.0], [100, 100])))
    values = np.linalg.eigvalsh(compression.matrix)
    np.testing.assert_allclose(values, np.repeat([1.0, 3.0], 2 * BLOCK), atol=1e-12)
    assert not compression.matrix[2 * BLOCK :, : 2 * BLOCK].any()


def test_nothing_is_made_of_zeros():
    compression = compressed(np.zeros((50, 50)))
    assert not compression.matrix.any()
    assert compression.rounding == 0


@pytest.mark.parametrize("noise", [1e-8, 1e-5, 1e-2])
@pytest.mark.parametrize("basis", [3 * BLOCK, 1000])
def test_rounding_is_estimated_from_what_is_not_symmetric(rng, monkeypatch, noise, basis):
    monkeypatch.setattr(lanczos, "BASIS", basis)
    size = 250
    error = noise * rng.standard_normal((size, size))
    compression = compressed(symmetric(rng, np.linspace(0, 1, size)) + error)
    # Symmetric and skew parts of random errors have the same norm.
    norm = np.linalg.norm(error + error.T, 2) / 2
    assert norm < compression.rounding < 3 * norm
