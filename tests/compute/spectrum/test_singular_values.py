import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import FAMILIES, orthonormal, spectrum_of, store, with_spectrum

from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.native import eigen
from mlx_probe.compute.solver_crossover import EigenSolvers
from mlx_probe.compute.spectrum import GRAM_METHODS, count_above

SOLVERS = {
    "default": EigenSolvers(),
    "syevd": EigenSolvers(lapack_from=2),
    "syevd_2stage": EigenSolvers(two_stage_from=2, lapack_from=2),
}
SHAPES = {"tall": (220, 96), "square": (128, 128), "wide": (96, 1500)}
STORED = ("BF16", "F16", "F32")


def reference(values):
    return np.linalg.svd(values, compute_uv=False)


def check(spectrum, values, rank_tol=1e-6):
    exact = reference(values)
    assert spectrum.values.shape == exact.shape
    assert np.all(np.diff(spectrum.values) <= 0)
    assert np.abs(spectrum.values - exact).max() <= spectrum.error * exact[0]
    assert spectrum.error <= rank_tol / 10
    count = count_above(spectrum.values, rank_tol * spectrum.values[0])
    assert count == np.count_nonzero(exact > rank_tol * exact[0])
    noise = max(values.shape) * np.finfo(np.float32).eps
    count = count_above(spectrum.values, noise * spectrum.values[0])
    assert count == np.count_nonzero(exact > noise * exact[0])


@pytest.mark.slow
@pytest.mark.parametrize("solvers", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_hard_matrices(backend, family, shape, dtype, solvers):
    words, values = store(FAMILIES[family](np.random.default_rng(11), *shape), dtype)
    spectrum = spectrum_of(backend, words, dtype, solvers=solvers)
    gram_method = GRAM_METHODS[solvers.of_order(96)]
    assert spectrum.method in ("zero_matrix", "qr_svd_f64", gram_method)
    check(spectrum, values)


def test_the_solver_is_named_where_it_is_used(backend):
    words, _ = store(FAMILIES["gaussian"](np.random.default_rng(19), 90, 40), "BF16")
    compiled = "gram_native_f64" if eigen.is_available() else "gram_f64"
    for solvers, method in (
        (None, compiled),
        (EigenSolvers(two_stage_from=2, lapack_from=2), "gram_2stage_f64"),
        (EigenSolvers(two_stage_from=41, lapack_from=2), "gram_f64"),
        (EigenSolvers(two_stage_from=41, lapack_from=41), compiled),
    ):
        assert spectrum_of(backend, words, "BF16", solvers=solvers).method == method


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F64"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_other_types(backend, shape, dtype):
    words, values = store(FAMILIES["gaussian"](np.random.default_rng(12), *shape) * 50, dtype)
    check(spectrum_of(backend, words, dtype), values)


@pytest.mark.parametrize("shape", [(90, 40), (40, 40), (40, 90)])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        *(("F32", 1e-40), ("F32", 1e30), ("F64", 1e200), ("F64", 1e-200)),
        *(("BF16", 1e-38), ("BF16", 1e36), ("F16", 1e-5), ("F16", 1e4)),
    ],
)
@pytest.mark.parametrize("family", ["gaussian", "power 1", "duplicate columns"])
def test_subnormal_and_huge_scales(backend, family, dtype, scale, shape):
    words, values = store(scale * FAMILIES[family](np.random.default_rng(13), *shape), dtype)
    spectrum = spectrum_of(backend, words, dtype)
    exact = reference(values / scale)
    assert (
        np.abs(np.ldexp(spectrum.values, spectrum.exponent) / scale - exact).max()
        <= spectrum.error * exact[0]
    )
    assert spectrum.error <= 1e-7
    assert count_above(spectrum.values, 1e-6 * spectrum.values[0]) == np.count_nonzero(
        exact > 1e-6 * exact[0]
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3000)])
def test_thin_matrices(backend, shape):
    words, values = store(np.random.default_rng(14).standard_normal(shape), "F32")
    check(spectrum_of(backend, words, "F32"), values)


def test_zero_matrix_is_known_without_a_factorization(backend):
    spectrum = spectrum_of(backend, np.zeros((30, 20), np.float32), "F32")
    assert spectrum.method == "zero_matrix"
    assert spectrum.error == 0
    np.testing.assert_array_equal(spectrum.values, np.zeros(20))


def planted(off):
    """A float64 matrix with a singular value at the tolerance times (1 + off)."""
    sigma = np.concatenate((np.linspace(1, 0.1, 39), [1e-6 * (1 + off)]))
    return with_spectrum(np.random.default_rng(15), 120, 40, sigma)


@pytest.mark.parametrize("off", [1e-2, -1e-2])
def test_a_value_near_the_tolerance_is_decided_by_the_gram_matrix(off):
    words, values = store(planted(off), "F64")
    spectrum = spectrum_of(NumpyBackend(), words, "F64")
    assert spectrum.method in GRAM_METHODS.values()
    check(spectrum, values)


@pytest.mark.parametrize("off", [1e-5, -1e-5])
def test_a_value_at_the_tolerance_goes_to_the_direct_svd(backend, off):
    words, values = store(planted(off), "F64")
    spectrum = spectrum_of(backend, words, "F64")
    assert spectrum.method == "qr_svd_f64"
    check(spectrum, values)


def test_fine_tolerances_go_to_the_direct_svd(backend):
    words, values = store(np.random.default_rng(16).standard_normal((60, 30)), "F32")
    spectrum = spectrum_of(backend, words, "F32", rank_tol=1e-8)
    assert spectrum.method == "qr_svd_f64"
    check(spectrum, values, 1e-8)


def test_every_count_is_certified_not_only_the_rank():
    words, values = store(FAMILIES["duplicate columns"](np.random.default_rng(17), 80, 40), "F32")
    spectrum = spectrum_of(NumpyBackend(), words, "F32", rank_tol=1e-3)
    # The bound would do for the rank; at exact zeros it cannot decide noise_rank's threshold.
    assert spectrum.method == "qr_svd_f64"
    check(spectrum, values, 1e-3)


def test_deficiency_at_a_coarse_tolerance_needs_no_svd():
    words, values = store(FAMILIES["log to 1e-5"](np.random.default_rng(18), 80, 40), "F32")
    spectrum = spectrum_of(NumpyBackend(), words, "F32", rank_tol=1e-3)
    assert spectrum.method in GRAM_METHODS.values()
    assert count_above(spectrum.values, 1e-3 * spectrum.values[0]) < 40
    check(spectrum, values, 1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 6), st.integers(7, 40), st.integers(7, 60), st.integers(0, 2**32 - 1))
def test_rank_of_a_product_of_integer_factors(rank, rows, cols, seed):
    rng = np.random.default_rng(seed)
    product = rng.integers(-8, 9, (rows, rank)) @ rng.integers(-8, 9, (rank, cols))
    words, values = store(product, "F32")
    spectrum = spectrum_of(NumpyBackend(), words, "F32")
    assert count_above(spectrum.values, 1e-6 * spectrum.values[0]) == np.linalg.matrix_rank(values)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_spectrum_does_not_know_the_basis(rows, cols, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, cols))
    rotated = orthonormal(rng, rows, rows) @ x
    same = [x.T, x[rng.permutation(rows)], rotated, -x]
    sigma = spectrum_of(NumpyBackend(), x, "F64").values
    assert np.sum(sigma**2) == pytest.approx(np.sum(x**2), rel=1e-12)
    for y in same:
        result = spectrum_of(NumpyBackend(), np.ascontiguousarray(y), "F64").values
        np.testing.assert_allclose(result, sigma, atol=1e-7 * sigma[0])
    scaled = spectrum_of(NumpyBackend(), 3.0 * x, "F64").values
    np.testing.assert_allclose(scaled, 3.0 * sigma, atol=3e-7 * sigma[0])
