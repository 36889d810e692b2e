"""Overlaps and intruders on their own: invariances, ranges, planted angles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import orthonormal, with_spectrum

from mlx_probe.analysis.compare.subspaces import compare_subspaces, leading_directions
from mlx_probe.compute.backends import Gram
from mlx_probe.compute.eigenvectors import Tridiagonal


def compared(a, b, k=4, searched=4, epsilon=0.5):
    a, b = (x if x.shape[0] >= x.shape[1] else x.T for x in (a, b))
    leading = leading_directions(Gram(b.T @ b, 0.0), max(k, searched))
    if leading is None:
        return None
    cross = a.T @ (b @ leading.vectors)
    return compare_subspaces(Gram(a.T @ a, 0.0), leading, cross, k, searched, epsilon)


def numbers(result):
    return (result.short_overlap, result.long_overlap)


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 24), st.integers(4, 24), st.integers(0, 2**32 - 1))
def test_invariances(rows, cols, seed):
    rng = np.random.default_rng(seed)
    sigma = 0.8 ** np.arange(min(rows, cols))
    a, b = with_spectrum(rng, rows, cols, sigma), with_spectrum(rng, rows, cols, sigma)
    result = compared(a, b)
    assert all(0 <= value <= 1 for value in numbers(result))
    # The angles between subspaces do not ask which of the two is first.
    np.testing.assert_allclose(numbers(compared(b, a)), numbers(result), atol=1e-9)
    # Nor for scale, sign, or a rotation of both.
    left, right = orthonormal(rng, rows, rows), orthonormal(rng, cols, cols)
    for other in (
        compared(-3 * a, 0.1 * b),
        compared(left @ a @ right, left @ b @ right),
    ):
        np.testing.assert_allclose(numbers(other), numbers(result), atol=1e-9)
        assert other.short_intruders == result.short_intruders
        assert other.long_intruders == result.long_intruders


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (16, 16)])
def test_a_matrix_and_itself(rng, shape):
    a = with_spectrum(rng, *shape, 0.8 ** np.arange(min(shape)))
    result = compared(a, a)
    np.testing.assert_allclose(numbers(result), 1, atol=1e-12)
    assert (result.short_intruders, result.long_intruders) == (0, 0)


@pytest.mark.parametrize("degrees", [10, 45, 80])
def test_a_planted_angle(rng, degrees):
    """Leading directions rotated by an angle, out of what the base spans on the long side."""
    basis, right = orthonormal(rng, 40, 12), orthonormal(rng, 10, 10)
    sigma = np.array([4.0, 3.0, *np.linspace(1, 0.5, 8)])
    rotated = basis[:, :10].copy()
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotated[:, :2] = c * basis[:, :2] + s * basis[:, 10:]
    a, b = (basis[:, :10] * sigma) @ right.T, (rotated * sigma) @ right.T
    result = compared(a, b, k=2, searched=2, epsilon=0.5)
    np.testing.assert_allclose(numbers(result), (1, c**2), atol=1e-12)
    assert (result.short_intruders, result.long_intruders) == (0, 2 if degrees == 80 else 0)


def test_directions_that_a_matrix_has_not(rng):
    """Of rank 3 there are three, whatever is asked for; of a zero matrix none."""
    a = with_spectrum(rng, 20, 10, np.array([3.0, 2.0, 1.0] + 7 * [0.0]))
    b = with_spectrum(rng, 20, 10, 0.9 ** np.arange(10))
    assert compared(a, b, k=8, searched=8).directions == 3
    assert compared(a, b, k=8, searched=8).searched == 8
    assert compared(b, a, k=8, searched=8).searched == 3
    assert compared(a, 0 * b) is None
    assert compared(0 * a, b) is None


@pytest.mark.parametrize("epsilon", [0.1, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_intruders_are_those_among_all_directions(rng, epsilon, mix):
    """Whether the leading directions of A decide it, or all are needed: the count is the same."""
    sigma = 0.97 ** np.arange(60)
    a = with_spectrum(rng, 90, 60, sigma)
    b = (1 - mix) * a + mix * with_spectrum(rng, 90, 60, sigma)
    result = compared(a, b, k=6, searched=8, epsilon=epsilon)
    ua, _, va = np.linalg.svd(a, full_matrices=False)
    ub, _, vb = np.linalg.svd(b, full_matrices=False)
    for count, x, y in (
        (result.long_intruders, ua.T, ub),
        (result.short_intruders, va, vb.T),
    ):
        assert count == np.count_nonzero(np.abs(x @ y[:, :8]).max(axis=0) < epsilon)


def test_all_directions_are_computed_only_where_the_leading_ones_leave_it_open(rng, monkeypatch):
    calls = []
    whole = Tridiagonal.all
    monkeypatch.setattr(Tridiagonal, "all", lambda self: calls.append(1) or whole(self))
    a = with_spectrum(rng, 90, 60, 0.9 ** np.arange(60))
    compared(a, a + 1e-4 * rng.standard_normal(a.shape))
    assert not calls
    compared(a, with_spectrum(rng, 90, 60, 0.9 ** np.arange(60)), epsilon=0.2)
    assert calls
