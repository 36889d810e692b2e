"""The best approximation of a rank, against LAPACK's float64 SVD."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_probe.compute.truncation import GRAM, SUBSPACE, truncate

METHODS = (GRAM, SUBSPACE)


def lines_of(matrix, height=7):
    return lambda: (matrix[i : i + height] for i in range(0, len(matrix), height))


def made(seed, long, short, decay):
    """A matrix whose singular values fall by a factor."""
    rng = np.random.default_rng(seed)
    u = np.linalg.qr(rng.standard_normal((long, short)))[0]
    v = np.linalg.qr(rng.standard_normal((short, short)))[0]
    return (u * decay ** np.arange(short)) @ v.T


def tail(sigma, rank):
    return np.linalg.norm(sigma[rank:])


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999), short=st.integers(1, 30), more=st.integers(0, 40),
    decay=st.sampled_from([0.3, 0.8, 0.97]), rank=st.integers(1, 32),
)  # fmt: skip
def test_what_is_left_out_is_the_tail(method, seed, short, more, decay, rank):
    matrix = made(seed, short + more, short, decay)
    sigma = np.linalg.svd(matrix, compute_uv=False)
    got = truncate(lines_of(matrix), short, rank, None, method)
    kept = min(rank, short)
    # Triples below the rounding of a Gram matrix are no triples of it.
    np.testing.assert_allclose(got.sigma, sigma[: got.rank], atol=2e-8 * sigma[0])
    assert got.rank <= kept
    rest = np.linalg.norm(matrix - (got.along * got.sigma) @ got.across.T)
    assert rest == pytest.approx(tail(sigma, kept), rel=1e-6, abs=1e-7 * np.linalg.norm(matrix))
    np.testing.assert_allclose(got.across.T @ got.across, np.eye(got.rank), atol=1e-10)
    np.testing.assert_allclose(got.along.T @ got.along, np.eye(got.rank), atol=1e-10)
    assert got.energy == pytest.approx(np.sum(sigma**2))
    assert got.settled


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), rank=st.integers(1, 6), asked=st.integers(1, 12))
def test_a_matrix_of_a_low_rank_comes_back(method, seed, rank, asked):
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((37, rank)), rng.standard_normal((rank, 19))
    matrix = left @ right
    got = truncate(lines_of(matrix), 19, asked, None, method)
    assert got.rank == min(rank, asked)
    if asked >= rank:
        back = (got.along * got.sigma) @ got.across.T
        np.testing.assert_allclose(back, matrix, atol=1e-11 * np.linalg.norm(matrix))
        assert got.kept == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999), share=st.floats(0.01, 0.999), short=st.integers(2, 60),
    decay=st.sampled_from([0.5, 0.9, 0.99]),
)  # fmt: skip
@example(seed=0, share=0.9375, short=54, decay=0.99)
def test_a_share_of_the_energy_takes_the_smallest_rank(method, seed, share, short, decay):
    matrix = made(seed, short + 5, short, decay)
    energy = np.cumsum(decay ** (2 * np.arange(short)))
    energy /= energy[-1]
    got = truncate(lines_of(matrix), short, None, share, method)
    assert energy[got.rank - 1] >= share - 1e-6
    assert got.rank == 1 or energy[got.rank - 2] < share + 1e-6
    most = truncate(lines_of(matrix), short, 3, share, method)
    assert most.rank == min(got.rank, 3)


@pytest.mark.parametrize("method", METHODS)
def test_zeros_have_no_direction(method):
    got = truncate(lines_of(np.zeros((9, 4))), 4, 3, None, method)
    assert (got.rank, got.energy, got.kept) == (0, 0.0, 1.0)
    assert truncate(lines_of(np.zeros((9, 4))), 4, None, 0.5, method).rank == 0


@pytest.mark.parametrize("method", METHODS)
def test_equal_matrices_have_equal_bytes(method):
    matrix = made(3, 40, 20, 0.9)
    one, other = (truncate(lines_of(matrix), 20, 5, None, method) for _ in range(2))
    assert one.along.tobytes() == other.along.tobytes()
    assert one.across.tobytes() == other.across.tobytes()
    turned = truncate(lines_of(-matrix), 20, 5, None, method)
    np.testing.assert_allclose(turned.across, one.across, atol=1e-9)


def test_extreme_sizes_are_as_any_other():
    matrix = made(5, 30, 12, 0.7)
    want = truncate(lines_of(matrix), 12, 4, None).sigma
    for unit in (1e-60, 1e60):
        got = truncate(lines_of(unit * matrix), 12, 4, None)
        np.testing.assert_allclose(got.sigma / unit, want, rtol=1e-12)
