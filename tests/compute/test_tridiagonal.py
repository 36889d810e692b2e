"""Sturm counts in numpy, and eigenvalues that they certify."""

import numpy as np
import pytest
from exact_eigenvalues import EPS, error
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.compute.tridiagonal import CERTIFIED, certify, count_below
from mlx_probe.core.errors import SpectrumError


def tridiagonal(diagonal, couplings):
    return np.diag(diagonal) + np.diag(couplings, 1) + np.diag(couplings, -1)


def toeplitz(size):
    """The matrix of second differences and its eigenvalues, in long double."""
    k = np.arange(1, size + 1).astype(np.longdouble)
    pi = np.longdouble("3.14159265358979323846264338327950288")
    exact = 2 - 2 * np.cos(k * pi / (size + 1))
    return np.full(size, 2.0), np.full(size - 1, -1.0), exact


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-200, 1e-9, 1.0]))
def test_counts(size, seed, coupling):
    rng = np.random.default_rng(seed)
    diagonal = rng.integers(-3, 4, size).astype(float)
    couplings = coupling * rng.integers(-2, 3, max(size - 1, 0))
    values = np.linalg.eigvalsh(tridiagonal(diagonal, couplings))
    shifts = np.concatenate((values - 1e-6, values + 1e-6, [-100.0, 100.0]))
    expected = np.searchsorted(values, shifts)
    assert np.array_equal(count_below(shifts, diagonal, couplings**2), expected)


def test_a_pivot_of_zero_counts_no_eigenvalue_twice():
    # The first pivot is 0 at the shift 0, and the eigenvalues are -1 and 1.
    assert count_below(np.array([0.0]), np.zeros(2), np.ones(1)).tolist() == [1]


@pytest.mark.parametrize("size", [1, 2, 3, 200])
@pytest.mark.parametrize("off", [0, 20, 60, 300, 1e9])
def test_values_that_are_off_are_corrected(size, off, rng):
    diagonal, couplings, exact = toeplitz(size)
    unit = EPS * float(exact.max())
    approximate = np.sort(exact.astype(float) + off * unit * rng.uniform(-1, 1, size))
    values = certify(approximate, diagonal, couplings)
    assert np.all(np.diff(values) >= 0)
    assert error(values, exact) <= CERTIFIED * 1.5


def test_values_that_are_good_stay(rng):
    diagonal, couplings, exact = toeplitz(300)
    good = exact.astype(float)
    assert np.array_equal(certify(good, diagonal, couplings), good)


def test_a_cluster_of_all(rng):
    values = certify(np.full(50, 1.5), np.ones(50), np.zeros(49))
    assert error(values, np.ones(50)) <= CERTIFIED * 1.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_an_error(bad):
    with pytest.raises(SpectrumError):
        certify(np.array([1.0, bad]), np.array([1.0, bad]), np.zeros(1))
