import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matrices import measure, orthonormal, store

from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.core.records import Moments, Spectrum
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.metrics.spectrum import SPECTRUM

BOUNDED = settings(max_examples=40, deadline=None, derandomize=True)
# Linear in the weight; every other metric of the family does not know its scale.
NORMS = {metric.name for metric in SPECTRUM.metrics if metric.unit == "weight"}
SIGMAS = arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1e3))
SEEDS = st.integers(0, 2**32 - 1)


def columns(sigma, noise=1e-3):
    sigma = np.sort(sigma)[::-1]
    moments = Moments(9, 0, 0, 0, 0, 0.0, 1.0, 0.0, 3.0, -1.0, 1.0, (0.0,) * 5, "F32", noise**2)
    spectrum = Spectrum(sigma, len(sigma), len(sigma) + 3, "gram_f64", 0.0)
    return compute_metrics(Measurement(moments, 1e-6, spectrum), "standard")


def spectral(backend, words, dtype):
    row = compute_metrics(measure(backend, words, dtype, level="standard"), "standard")
    names = [metric.name for metric in SPECTRUM.metrics]
    return {k: row[k] for k in names if k not in ("spectrum_method", "spectrum_error")}


def same(row, expected, skip=()):
    for name, value in expected.items():
        if name in skip:
            continue
        if value is None or isinstance(value, int):
            assert row[name] == value, name
        elif name == "condition_number":
            # The bound is one of sigma_1: what is nearly singular is known no better.
            assert 1 / row[name] == pytest.approx(1 / value, rel=1e-6, abs=2e-7)
        else:
            absolute = 2e-7 * expected["spectral_norm"] if name == "sigma_min" else 0.0
            assert row[name] == pytest.approx(value, rel=1e-6, abs=absolute), name


@BOUNDED
@given(SIGMAS, st.integers(-40, 40))
def test_scaling_laws(sigma, exponent):
    # A power of two, so that nothing is rounded and the counts have to be equal.
    assume(np.all((sigma == 0) | (sigma > 1e-200)))
    scale = 2.0**exponent
    one, other = columns(sigma), columns(scale * sigma, scale * 1e-3)
    assert {"spectral_norm", "frobenius_norm", "nuclear_norm", "sigma_min"} <= NORMS
    for metric in SPECTRUM.metrics:
        value, row = one[metric.name], other[metric.name]
        if metric.type != "float64" or value is None:
            assert row == value, metric.name
        else:
            expected = value * scale if metric.name in NORMS else value
            assert row == pytest.approx(expected, rel=1e-12), metric.name


@BOUNDED
@given(SIGMAS)
def test_ranges_and_order(sigma):
    assume(sigma.max() > 0)
    row, m = columns(sigma), len(sigma)
    slack = 1e-9
    for name in ("stable_rank", "effective_rank", "participation_ratio"):
        assert 1 - slack <= row[name] <= m + slack, name
    assert row["stable_rank"] <= row["participation_ratio"] * (1 + slack)
    assert row["participation_ratio"] <= row["effective_rank"] * (1 + slack)
    assert m == 1 or -slack <= row["spectral_entropy"] <= 1 + slack
    energy = [row[f"energy_rank_{q}"] for q in (90, 95, 99)]
    assert energy == sorted(energy)
    assert 1 <= energy[0] <= energy[-1] <= m
    assert 0 < row["top1_energy"] <= row["top10_energy"] <= 1
    norms = [row[f"{kind}_norm"] for kind in ("spectral", "frobenius", "nuclear")]
    assert norms[0] <= norms[1] * (1 + slack)
    assert norms[1] <= norms[2] * (1 + slack)
    assert row["condition_number"] >= 1
    assert row["top1_energy"] * row["stable_rank"] == pytest.approx(1)


@BOUNDED
@given(SIGMAS, st.sampled_from([90, 95, 99]))
def test_an_energy_rank_is_the_least_that_holds_its_share(sigma, percent):
    assume(sigma.max() > 0)
    energy = np.sort((sigma / sigma.max()) ** 2)[::-1]
    k = columns(sigma)[f"energy_rank_{percent}"]
    goal = percent / 100 * energy.sum()
    assert energy[:k].sum() >= goal * (1 - 1e-12)
    assert energy[: k - 1].sum() < goal * (1 + 1e-12)


@BOUNDED
@given(st.integers(0, 5), st.integers(6, 20), st.integers(6, 30), SEEDS)
def test_rank_of_integer_factors(backend, rank, rows, cols, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-8, 9, (rows, rank)), rng.integers(-8, 9, (rank, cols))
    words, values = store(left @ right, "F16")  # at most 5 * 64: exact
    np.testing.assert_array_equal(values, left @ right)
    row = spectral(backend, words, "F16")
    assert row["rank"] == row["rank_numpy"] == np.linalg.matrix_rank(values)


@BOUNDED
@given(st.integers(1, 24), st.integers(1, 24), SEEDS)
def test_no_metric_knows_the_order_the_orientation_or_the_sign(backend, rows, cols, seed):
    rng = np.random.default_rng(seed)
    x, _ = store(rng.standard_normal((rows, cols)), "F16")
    expected = spectral(backend, x, "F16")
    variants = x.T, x[rng.permutation(rows)], x[:, rng.permutation(cols)], -x
    for variant in variants:
        same(spectral(backend, np.ascontiguousarray(variant), "F16"), expected)
    energy = np.sum(np.square(x.astype(np.float64)))
    assert expected["frobenius_norm"] ** 2 == pytest.approx(energy, rel=1e-9)


@BOUNDED
@given(st.integers(2, 24), st.integers(2, 24), SEEDS)
def test_no_metric_knows_the_basis(rows, cols, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, cols))
    assume(np.linalg.cond(x) < 1e4)
    expected = spectral(NumpyBackend(), x, "F64")
    rotated = orthonormal(rng, rows, rows) @ x @ orthonormal(rng, cols, cols)
    # A rotation in float64 rounds, and by that moves what lies within rounding noise.
    same(spectral(NumpyBackend(), rotated, "F64"), expected, skip={"noise_rank"})


@BOUNDED
@given(st.integers(-30, 30), SEEDS)
def test_a_scaled_file_has_scaled_norms(backend, exponent, seed):
    x = np.random.default_rng(seed).standard_normal((12, 9)).astype(np.float32)
    one = spectral(backend, x, "F32")
    other = spectral(backend, np.float32(2.0**exponent) * x, "F32")
    same(other, {k: v * 2.0**exponent if k in NORMS else v for k, v in one.items()})
