"""Every eigenvalue of each solver is within its bound, against long double."""

import numpy as np
import pytest
from exact_eigenvalues import SYMMETRIC, error, exact_eigenvalues, gram
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import FAMILIES

from mlx_probe.compute import lapack, native
from mlx_probe.compute.cores import threads
from mlx_probe.compute.native import eigen
from mlx_probe.compute.spectrum.bounds import EPS
from mlx_probe.core.errors import SpectrumError

compiled = pytest.mark.skipif(not eigen.is_available(), reason="no compiled solver")

# Bounds in eps of the largest magnitude. Those of LAPACK leave room for the Gram product.
SOLVERS = {
    "native": 8,
    "one_stage": 48,
    "two_stage": 48,
    "certified one_stage": 36,
    "certified two_stage": 36,
}

# Half of the eigenvalues coincide: the rounding of all reflectors spreads them by some sqrt(n) eps.
CLUSTERED = ("cluster at 1e-6", "two clusters")


@pytest.fixture(params=SOLVERS)
def solver(request, monkeypatch):
    """Function that computes eigenvalues by one solver, and its bound."""
    certified, _, name = request.param.rpartition(" ")
    if name == "native" and not eigen.is_available():
        pytest.skip("no compiled solver")
    if certified:
        monkeypatch.setattr(lapack, "_CERTIFIED_FROM", 2)

    def solve(matrix):
        return lapack.eigenvalues(np.triu(matrix), name)

    return solve, SOLVERS[request.param]


def check(solver, matrix, clustered=False):
    solve, bound = solver
    values = solve(matrix)
    assert np.all(np.diff(values) >= 0)
    assert error(values, exact_eigenvalues(matrix)) <= max(
        bound, clustered * 1.25 * np.sqrt(len(matrix))
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_gram_matrices_of_hard_families(solver, family):
    check(solver, gram(family, 128), family in CLUSTERED)


@pytest.mark.parametrize("size", [32, 33, 71])
@pytest.mark.parametrize("name", SYMMETRIC)
def test_clusters_grades_and_extreme_elements(solver, name, size):
    matrix = SYMMETRIC[name](size, np.random.default_rng(size))
    check(solver, matrix, name in CLUSTERED)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gaussian", "log to 1e-9", "cluster at 1e-6"])
@pytest.mark.parametrize("size", [64, 256])
def test_sizes_on_both_sides_of_each_band(solver, family, size):
    check(solver, gram(family, size), family in CLUSTERED)


@compiled
@pytest.mark.parametrize("element", [1.0, float(np.float32(0.1))])
def test_sums_of_equal_elements_do_not_round_to_one_side(element):
    """One long sum of equal terms is off to the same side at every step: 62 eps, once.

    With sums in parts it is 21 to 23, as the BLAS has kernels.
    """
    values = lapack.eigenvalues(np.full((2048, 2048), element), "native")
    exact = np.zeros(2048)
    exact[-1] = 2048 * element
    assert np.abs(values - exact).max() / exact[-1] / EPS <= 32


def kac_murdock_szego(size, rho):
    """The matrix rho^|i-j| and its eigenvalues (Kac, Murdock and Szego, 1953).

    They are (1 - rho^2) / (1 - 2 rho cos t + rho^2), with t in ((k - 1) pi / (n + 1), k pi /
    (n + 1)) the roots of sin((n + 1) t) - 2 rho sin(n t) + rho^2 sin((n - 1) t).
    """
    n = np.longdouble(size)
    k = np.arange(1, size + 1).astype(np.longdouble)
    pi = np.longdouble("3.14159265358979323846264338327950288")
    low, high = (k - 1) * pi / (n + 1), k * pi / (n + 1)
    rho = np.longdouble(rho)

    def f(t):
        return np.sin((n + 1) * t) - 2 * rho * np.sin(n * t) + rho**2 * np.sin((n - 1) * t)

    low[0] = high[0] * 1e-6
    sign = np.sign(f(high))
    for _ in range(80):
        middle = (low + high) / 2
        same = np.sign(f(middle)) == sign
        low, high = np.where(same, low, middle), np.where(same, middle, high)
    t = (low + high) / 2
    values = (1 - rho**2) / (1 - 2 * rho * np.cos(t) + rho**2)
    i = np.arange(size)
    return 0.5 ** np.abs(i[:, None] - i), np.sort(values)


@pytest.mark.parametrize("size", [50, 300, 1030])
def test_a_matrix_whose_eigenvalues_are_known(size):
    # 0.5 to any power is exact.
    matrix, exact = kac_murdock_szego(size, 0.5)
    for name in lapack.SOLVERS:
        bound = 8 if name == "native" and eigen.is_available() else 48
        assert error(lapack.eigenvalues(matrix.copy(), name), exact) <= bound


@compiled
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(32, 90),
    st.integers(0, 2**32 - 1),
    st.floats(0, 18),
    st.integers(-60, 60),
    st.booleans(),
)
def test_any_spectrum_any_scale(size, seed, decades, power, definite):
    rng = np.random.default_rng(seed)
    values = 10.0 ** -rng.uniform(0, decades, size)
    if not definite:
        values *= rng.choice([-1.0, 1.0], size)
    q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    matrix = 2.0**power * ((q * values) @ q.T)
    matrix = (matrix + matrix.T) / 2
    assert error(lapack.eigenvalues(matrix.copy(), "native"), exact_eigenvalues(matrix)) <= 8


@compiled
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(32, 200), st.integers(0, 2**32 - 1))
def test_scaling_by_a_power_of_two_scales_the_bits(size, seed):
    x = np.random.default_rng(seed).standard_normal((size, size))
    matrix = x + x.T
    values = lapack.eigenvalues(matrix.copy(), "native")
    assert np.array_equal(lapack.eigenvalues(2.0**40 * matrix, "native"), 2.0**40 * values)


@compiled
@pytest.mark.parametrize("size", [1030, pytest.param(2305, marks=pytest.mark.slow)])
def test_no_bit_depends_on_the_number_of_threads(size):
    x = np.random.default_rng(size).standard_normal((size, size))
    matrix = x + x.T
    alone = lapack.eigenvalues(matrix.copy(), "native")
    for cores in (2, 5):
        with threads(cores):
            assert np.array_equal(lapack.eigenvalues(matrix.copy(), "native"), alone)


@compiled
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0), (3, 39), (39, 39)])
def test_what_is_not_finite_is_an_error_and_no_crash(bad, where):
    matrix = np.eye(40)
    matrix[where] = bad
    with pytest.raises(SpectrumError, match="not finite"):
        lapack.eigenvalues(matrix, "native")


@compiled
@pytest.mark.parametrize("size", range(1, 32))
def test_the_library_itself_takes_any_order(size, monkeypatch):
    monkeypatch.setattr(eigen, "SMALLEST", 1)
    x = np.random.default_rng(size).standard_normal((size, size))
    matrix = x @ x.T
    assert error(eigen.eigenvalues(matrix.copy()), exact_eigenvalues(matrix)) <= 8


@compiled
def test_without_kernels_lapack_computes():
    matrix = gram("gaussian", 64)
    with native.without():
        assert not eigen.is_available()
        assert eigen.workspace(64) == 0
        values = lapack.eigenvalues(matrix.copy(), "native")
    assert np.array_equal(values, lapack.eigenvalues(matrix.copy(), "one_stage"))


@compiled
@pytest.mark.parametrize("size", [32, 100, 576, 1024, 4096, 16384])
def test_the_memory_forecast_holds_the_work(size):
    work = eigen.workspace(size)
    assert lapack.workspace(size) >= 8 * size**2 + work
    # Less than a third of the matrix where it is large.
    assert work <= max(8 * size**2 / 3, 600_000)
