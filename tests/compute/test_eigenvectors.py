"""Leading and all eigenvectors of Gram matrices from one reduction, against numpy.linalg.eigh."""

import numpy as np
import pytest
from matrices import orthonormal, with_spectrum

from mlx_probe.compute import fortran
from mlx_probe.compute.eigenvectors import Tridiagonal

SPECTRA = {
    "flat": lambda n: np.linspace(2, 1, n),
    "falling": lambda n: 0.8 ** np.arange(n),
    "equal": lambda n: np.ones(n),
    "clustered": lambda n: np.repeat([3.0, 2.0, 1.0, 1e-5], -(-n // 4))[:n],
    "low rank": lambda n: np.where(np.arange(n) < 3, 1.0, 0.0),
    "graded": lambda n: np.logspace(0, -12, n),
}


@pytest.fixture(params=["library", "numpy"])
def library(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(fortran, "is_available", lambda: False)
    elif not fortran.is_available():
        pytest.skip("numpy has no OpenBLAS of its own")
    return request.param


def gram(rng, n, spectrum, scale=1.0):
    x = with_spectrum(rng, 2 * n, n, SPECTRA[spectrum](n)) * scale
    return x.T @ x


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("n", "count"), [(1, 1), (2, 1), (5, 5), (40, 16), (150, 20)])
def test_leading_eigenpairs(rng, library, spectrum, n, count):
    matrix = gram(rng, n, spectrum)
    exact = np.linalg.eigvalsh(matrix)[::-1]
    whole = Tridiagonal(matrix.copy())
    values, vectors = whole.leading(count)
    np.testing.assert_allclose(values, exact[:count], atol=1e-13 * exact[0])
    v = whole.from_basis(vectors.T)
    np.testing.assert_allclose(v.T @ v, np.eye(count), atol=1e-12)
    np.testing.assert_allclose(matrix @ v, v * values, atol=1e-13 * n * exact[0])


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_all_eigenpairs_after_the_leading_ones(rng, library, spectrum):
    matrix = gram(rng, 60, spectrum)
    whole = Tridiagonal(matrix.copy())
    whole.leading(4)
    values, vectors = whole.all()
    v = whole.from_basis(vectors.T)
    np.testing.assert_allclose((v * values) @ v.T, matrix, atol=1e-12 * np.trace(matrix))


def test_rotating_there_and_back_is_nothing(rng, library):
    whole = Tridiagonal(gram(rng, 50, "falling"))
    v = orthonormal(rng, 50, 7)
    np.testing.assert_allclose(whole.from_basis(whole.to_basis(v)), v, atol=1e-13)


@pytest.mark.parametrize("exponent", [-400, 400])
def test_extreme_matrices_are_solved_like_others(rng, library, exponent):
    matrix = gram(rng, 30, "falling")
    values, vectors = Tridiagonal(matrix.copy()).leading(5)
    far, same = Tridiagonal(np.ldexp(matrix, 2 * exponent)).leading(5)
    np.testing.assert_allclose(far, np.ldexp(values, 2 * exponent), rtol=1e-13)
    np.testing.assert_allclose(np.abs(np.sum(same * vectors, axis=1)), 1, rtol=1e-12)


def test_a_vector_that_inverse_iteration_misses_comes_from_the_other_solver(rng, monkeypatch):
    if not fortran.is_available():
        pytest.skip("numpy has no OpenBLAS of its own")
    call, matrix = fortran.call, gram(rng, 30, "falling")

    def failing(routine, *arguments):
        call(routine, *arguments)
        if routine == "dstein":
            arguments[-1]._value.value = 1

    expected, vectors = Tridiagonal(matrix.copy()).leading(5)
    monkeypatch.setattr(fortran, "call", failing)
    values, others = Tridiagonal(matrix.copy()).leading(5)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(np.abs(np.sum(vectors * others, axis=1)), 1, rtol=1e-12)
