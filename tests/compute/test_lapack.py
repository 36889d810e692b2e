"""LAPACK in place against numpy, and what stands in for it where routines are missing."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mlx_probe.compute import fortran, lapack
from mlx_probe.core.errors import SpectrumError


@pytest.fixture(params=["in place", "numpy"], autouse=True)
def way(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(fortran, "is_available", lambda: False)
    else:
        assert lapack.works_in_place(), "numpy's wheels bundle all routines"


@pytest.fixture(params=[1, 2, 5, 70, 150])
def size(request):
    return request.param


def upper(matrix):
    """Only what may be read: the rest is poisoned."""
    return np.where(np.triu(np.ones_like(matrix)) > 0, matrix, np.nan)


def symmetric(rng, size):
    x = rng.standard_normal((size, size))
    return x + x.T


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("rows", [1, 40, 300])
def test_gram_matrices_add_up(rng, size, rows, order):
    x = np.asarray(rng.standard_normal((rows, size)), order=order)
    matrix = np.zeros((size, size))
    lapack.add_gram(matrix, x)
    lapack.add_gram(matrix, 2 * x)
    np.testing.assert_allclose(np.triu(matrix), np.triu(5 * x.T @ x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", [None, *lapack.SOLVERS])
def test_eigenvalues(rng, size, solver):
    matrix = symmetric(rng, size)
    expected = np.linalg.eigvalsh(matrix)
    # numpy reads only the triangle that it was given.
    result = lapack.eigenvalues(upper(matrix), solver)
    np.testing.assert_allclose(result, expected, atol=1e-13 * np.abs(expected).max())


def test_definiteness_and_inertia(rng, size):
    matrix = symmetric(rng, size)
    values = np.linalg.eigvalsh(matrix)
    for shift in (values[0] - 1, values[-1] + 1, values.mean() + 1e-3, 0.0):
        shifted = matrix - shift * np.eye(size)
        count = np.count_nonzero(values > shift)
        assert lapack.positive_count(upper(shifted)) == count
        assert lapack.is_positive_definite(upper(shifted)) == (count == size)


def test_products(rng, size):
    matrix, v = symmetric(rng, size), rng.standard_normal(size)
    np.testing.assert_allclose(lapack.symmetric_product(np.triu(matrix), v), matrix @ v, atol=1e-11)


def test_folding_and_singular_values(rng, size):
    x = rng.standard_normal((3 * size, size))
    triangle = np.zeros((size, size), order="F")
    for part in np.array_split(x, 4):
        triangle = lapack.fold(triangle, np.array(part, order="F"))
    assert np.array_equal(triangle, np.triu(triangle))
    expected = np.linalg.svd(x, compute_uv=False)
    result = lapack.singular_values(np.array(triangle, order="F"))
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_nan_does_not_pass_for_a_spectrum():
    with pytest.raises(SpectrumError, match="gesdd"):
        lapack.singular_values(np.full((8, 8), np.nan, order="F"))


def test_a_library_that_computes_something_else_is_not_used(monkeypatch):
    monkeypatch.undo()
    fortran.is_available.cache_clear()
    monkeypatch.setattr(fortran, "_routines", lambda: dict.fromkeys(fortran.ROUTINES, max))
    with monkeypatch.context() as nothing:
        nothing.setattr(fortran, "call", lambda *arguments: None)
        assert not lapack.works_in_place()
    fortran.is_available.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("size", [2047, 2048, 2213])
@pytest.mark.parametrize("order", ["C", "F"])
def test_threads_change_no_bit(size, order):
    x = np.random.default_rng(size).standard_normal((24, size))
    results = []
    for count in (1, 2, 3):
        matrix = np.zeros((size, size))
        with lapack.threads(count):
            assert lapack.width() == count
            for start in (0, 12):
                lapack.add_gram(matrix, np.array(x[start : start + 12], order=order))
        assert lapack.width() == 1
        results.append(np.triu(matrix))
    assert np.allclose(results[0], np.triu(x.T @ x), rtol=1e-12, atol=1e-12)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_threads_are_those_of_one_caller():
    with lapack.threads(2), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lapack.width).result() == 1


def test_any_layout_is_multiplied():
    x = np.random.default_rng(2).standard_normal((20, 90))[::2, ::3]
    matrix = np.zeros((30, 30))
    lapack.add_gram(matrix, x)
    assert np.allclose(np.triu(matrix), np.triu(x.T @ x), rtol=1e-13)


def test_large_matrices_without_lapack_are_solved_by_divide_and_conquer(monkeypatch, rng):
    # sterf's error, which eigvalsh has, grows beyond the bound; and nothing could certify it.
    monkeypatch.setattr(fortran, "is_available", lambda: False)
    monkeypatch.setattr(lapack, "_CERTIFIED_FROM", 50)
    matrix = symmetric(rng, 60)
    assert np.array_equal(lapack.eigenvalues(matrix.copy()), np.linalg.eigh(matrix, UPLO="U")[0])
