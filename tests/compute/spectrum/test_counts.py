import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import FAMILIES, decoded, measure, spectrum_of, store, ulp, with_spectrum

from mlx_probe.compute.backends import Gram
from mlx_probe.compute.spectrum import MatrixReader, noise_threshold, singular_values
from mlx_probe.compute.spectrum.bounds import EPS, direct_error, gram_error
from mlx_probe.compute.spectrum.rank import certified
from mlx_probe.metrics import compute_metrics

SHAPES = {"tall": (1100, 48), "square": (72, 72), "wide": (48, 1100)}


def counts(words, dtype, value_dtype, rank_tol=1e-6):
    """The three ranks from float64 LAPACK and the definitions."""
    x = decoded(words, dtype)
    sigma = np.linalg.svd(x, compute_uv=False)
    noise = np.sqrt(np.mean(ulp(x, value_dtype) ** 2) / 12) * np.sqrt(x.shape).sum()
    thresholds = {
        "rank": rank_tol * sigma[0],
        "rank_numpy": max(x.shape) * np.finfo(np.float32).eps * sigma[0],
        "noise_rank": noise,
    }
    return sigma, {name: np.count_nonzero(sigma > t) for name, t in thresholds.items()}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_all_ranks_are_those_of_the_exact_spectrum(backend, family, shape, dtype, rng):
    words, _ = store(FAMILIES[family](rng, *shape), dtype)
    measurement = measure(backend, words, dtype, level="standard")
    row = compute_metrics(measurement, "standard")
    sigma, expected = counts(words, dtype, row["value_dtype"])
    assert {name: row[name] for name in expected} == expected
    assert row["spectrum_error"] <= 1e-7
    off = np.abs(measurement.spectrum.values - sigma).max(initial=0)
    assert off <= row["spectrum_error"] * sigma[0]


@pytest.mark.parametrize("smallest", [1e-3, 1e-5, 1e-7, 1e-9])
@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_near_deficiency(backend, dtype, smallest, rng):
    sigma = np.append(np.linspace(1, 0.5, 39), smallest)
    words, _ = store(with_spectrum(rng, 90, 40, sigma), dtype)
    row = compute_metrics(measure(backend, words, dtype), "standard")
    exact, expected = counts(words, dtype, dtype)
    assert {name: row[name] for name in expected} == expected
    assert row["sigma_min"] == pytest.approx(exact[-1], abs=row["spectrum_error"] * exact[0])


@pytest.mark.parametrize("dtype", ["F32", "F64"])
@pytest.mark.parametrize(
    ("off", "method"),
    [(1e-2, "gram"), (-1e-2, "gram"), (1e-5, "qr_svd_f64"), (-1e-5, "qr_svd_f64")],
)
def test_how_near_the_tolerance_decides_the_method(backend, dtype, off, method, rng):
    # A diagonal holds its singular values exactly, in the digits as well.
    diagonal = np.linspace(1, 0.1, 40)
    diagonal[7] = 1e-6 * (1 + off)
    words, _ = store(np.diag(diagonal)[rng.permutation(40)], dtype)
    spectrum = spectrum_of(backend, words, dtype)
    assert spectrum.method.startswith(method)
    assert np.count_nonzero(spectrum.values > 1e-6 * spectrum.values[0]) == 39 + (off > 0)


@pytest.mark.parametrize("rank", [1, 5])
@pytest.mark.parametrize("shape", [(60, 20), (20, 60), (1, 30), (30, 1), (1, 1)])
def test_rank_of_outer_products(backend, shape, rank, rng):
    m, n = shape
    x = rng.integers(1, 5, (m, rank)) @ rng.integers(1, 5, (rank, n))
    row = compute_metrics(measure(backend, store(x, "F16")[0], "F16"), "standard")
    assert row["rank"] == np.linalg.matrix_rank(x) <= min(rank, m, n)
    assert row["frobenius_norm"] == pytest.approx(np.linalg.norm(x.astype(float)), rel=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(2, 24),
    st.floats(0, 12),
    st.sampled_from([1e-2, 1e-3, 1e-6, 3e-7, 1e-7, 1e-8, 1e-12]),
    st.integers(0, 2**32 - 1),
)
def test_no_method_is_used_beyond_its_bound(backend, size, decades, rank_tol, seed):
    rng = np.random.default_rng(seed)
    x = with_spectrum(rng, 30, size, np.logspace(0, -decades, size))
    spectrum = spectrum_of(backend, x, "F64", rank_tol=rank_tol)
    exact = np.linalg.svd(x, compute_uv=False)
    assert spectrum.method == "qr_svd_f64" or spectrum.error <= rank_tol / 10
    assert spectrum.method == "qr_svd_f64" or rank_tol >= 2e-7
    assert np.abs(spectrum.values - exact).max() <= spectrum.error * exact[0]


@pytest.mark.parametrize("scale", [1.0, 1e-50, 1e50])
def test_deficiency_at_a_coarse_tolerance_keeps_the_gram_route_if_the_bound_allows(scale, rng):
    x = scale * with_spectrum(rng, 50, 20, np.array([1.0] * 10 + [0.0] * 10))

    class Small:
        min, max, rounding_variance, exponent = -scale, scale, (1e-6 * scale) ** 2, 0

    asked = []

    def precise():
        asked.append("precise")
        return Gram(x.T @ x, 1e-3 * omitted)

    def solve(rank_tol):
        reader = MatrixReader(50, 20, "F64", Small, lambda: [x], precise)
        return singular_values(Gram(x.T @ x, omitted), reader, rank_tol).method

    omitted = 0.0
    assert (solve(1e-3), asked) == ("gram_f64", [])
    # What a representation left out counts as well: then less is left out.
    omitted = 1e-3 * scale
    assert (solve(1e-3), asked) == ("gram_f64", ["precise"])
    # That would not help where the eigenvalues themselves are not good enough.
    assert (solve(1e-6), asked) == ("qr_svd_f64", ["precise"])


def test_lines_of_zeros_are_exact_and_need_no_svd(backend, rng):
    x = rng.standard_normal((90, 40))
    x[:, rng.permutation(40)[:15]] = 0.0
    words, values = store(x, "F32")
    for matrix, exact in ((words, values), (words.T.copy(), values.T)):
        spectrum = spectrum_of(backend, matrix, "F32")
        assert spectrum.method == "gram_f64"
        assert not spectrum.values[25:].any()
        sigma = np.linalg.svd(exact, compute_uv=False)
        assert np.abs(spectrum.values - sigma).max() <= spectrum.error * sigma[0]


def test_certainty_ends_at_delta():
    eigenvalues = np.array([1e-12, 0.25, 1.0])
    delta = 64 * EPS
    for above, sure in ((2 * delta, True), (0.5 * delta, False), (-0.5 * delta, False)):
        assert certified(eigenvalues, 0.0, [np.sqrt(0.25 + above)]) is sure
    # 2 t e + e**2 with e = 0.1: 0.11 around 0.25.
    assert certified(eigenvalues, 0.1, [np.sqrt(0.40)])
    assert not certified(eigenvalues, 0.1, [np.sqrt(0.35)])
    assert not certified(eigenvalues, 0.0, [0.7, 0.5])


def test_bounds_by_hand():
    relative = 64 * EPS
    assert gram_error(np.array([1.0, 1.0]), 0.0) == pytest.approx(relative)
    assert gram_error(np.array([-1e-17, 1.0]), 0.0) == pytest.approx(np.sqrt(relative))
    assert gram_error(np.array([4.0, 4.0]), 0.2) == pytest.approx(relative + 0.1)
    assert gram_error(np.ones(8192), 0.0) == pytest.approx(2 * relative)
    assert direct_error(3, 7) == 7 * EPS


def test_noise_threshold_by_hand(backend):
    # Every element is 1.5 in float32: the spacing is 2**-23 everywhere.
    x = np.full((9, 16), np.float32(1.5) + np.float32(2**-23))
    moments = measure(backend, x, "F32").moments
    expected = 2.0**-23 / np.sqrt(12) * (3 + 4)
    assert noise_threshold(moments, 9, 16) == pytest.approx(expected, rel=1e-14)
