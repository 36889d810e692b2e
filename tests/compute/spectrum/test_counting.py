"""The rank without a spectrum against LAPACK's float64 singular values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import FAMILIES, gram_of, orthonormal, store, with_spectrum

from mlx_probe.compute.backends import Gram
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.spectrum import count_rank
from mlx_probe.compute.spectrum.bounds import EPS

SHAPES = {"tall": (220, 96), "square": (128, 128), "wide": (96, 1500)}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "zero"])
def test_what_is_counted_is_the_rank(backend, family, shape, dtype):
    words, values = store(FAMILIES[family](np.random.default_rng(21), *shape), dtype)
    gram = gram_of(backend, words, dtype)
    before = np.triu(gram.matrix)
    counted = count_rank(gram, *shape, 1e-6)
    sigma = np.linalg.svd(values, compute_uv=False)
    rank = np.count_nonzero(sigma > 1e-6 * sigma[0])
    if counted is None:
        # Left to the eigenvalues, with the matrix as it was; only what is close may be.
        np.testing.assert_array_equal(np.triu(gram.matrix), before)
        ratio = sigma / (1e-6 * sigma[0])
        assert gram.omitted or np.any((ratio > 0.9) & (ratio < 1.2))
    else:
        assert counted.rank == rank
        assert counted.method == ("cholesky_f64" if rank == len(sigma) else "inertia_f64")
        assert counted.error <= 1e-7


def counted(values, rank_tol=1e-6):
    gram = gram_of(NumpyBackend(), values, "F64")
    return count_rank(gram, *values.shape, rank_tol)


def planted(ratio, rng, size=60):
    sigma = np.append(np.linspace(1, 0.1, size - 1), 1e-6 * ratio)
    return with_spectrum(rng, 2 * size, size, sigma)


@pytest.mark.parametrize(
    ("ratio", "rank"), [(0.5, 59), (0.9, 59), (1.0, None), (1.02, None), (1.2, 60), (3.0, 60)]
)
def test_near_the_tolerance_it_says_nothing(rng, ratio, rank):
    count = counted(planted(ratio, rng))
    assert (count and count.rank) == rank


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(2, 40),
    st.floats(0, 12),
    st.sampled_from([1e-2, 1e-4, 1e-6, 4e-7, 1e-7, 1e-9]),
    st.integers(0, 2**32 - 1),
)
def test_a_count_is_right_or_not_given(size, decades, rank_tol, seed):
    rng = np.random.default_rng(seed)
    values = with_spectrum(rng, 50, size, np.logspace(0, -decades, size))
    sigma = np.linalg.svd(values, compute_uv=False)
    count = counted(values, rank_tol)
    assert count is None or count.rank == np.count_nonzero(sigma > rank_tol * sigma[0])
    assert count is None or rank_tol > 1e-7


def test_what_was_left_out_counts():
    rng = np.random.default_rng(3)
    values = with_spectrum(rng, 80, 40, np.append(np.linspace(1, 0.1, 39), 3e-6))
    gram = values.T @ values
    assert count_rank(Gram(gram.copy(), 1e-8), 80, 40, 1e-6).rank == 40
    assert count_rank(Gram(gram.copy(), 1e-5), 80, 40, 1e-6) is None


def test_the_bound_by_hand():
    # Eigenvalues 1 and 1/4: the trace bounds lambda_1 below Lanczos' ninth more.
    count = count_rank(Gram(np.diag([1.0, 0.25]), 0.0), 2, 2, 1e-2)
    assert count.rank == 2
    assert count.error == pytest.approx(64 * EPS / 1e-2)


def test_clustered_largest_values_are_bounded_all_the_same(rng):
    # Lanczos sees a cluster slowly; the margin above what it finds covers that.
    sigma = np.concatenate((np.linspace(1, 0.95, 150), np.full(50, 1.3e-6)))
    values = (orthonormal(rng, 200, 200) * sigma) @ orthonormal(rng, 200, 200).T
    assert counted(values).rank == 200
    assert counted(values * 1e-120).rank == 200


def test_overflowing_squares_are_left_alone(rng):
    assert counted(1e160 * rng.standard_normal((20, 10))) is None
