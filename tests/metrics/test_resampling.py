"""The interval of alpha, and the verdict on it: against one search after the other."""

import numpy as np
import pytest

from mlx_probe.core.records import METRIC_LEVELS, Moments, Spectrum
from mlx_probe.metrics import Measurement, compute_metrics, resample_search
from mlx_probe.metrics import resampling as module
from mlx_probe.metrics.power_law import fit_power_law, likely_peaks
from mlx_probe.metrics.resampling import RESAMPLES, Bootstrap, Interval

MOMENTS = Moments(9, 0, 0, 0, 0, 0.0, 1.0, 0.0, 3.0, -1.0, 1.0, (0.0,) * 5, "F32", 0.0)


def pareto(alpha, size, seed=0):
    return np.sort(np.random.default_rng(seed).pareto(alpha - 1, size) + 1)


def noise(size, seed=0):
    x = np.random.default_rng(seed).standard_normal((size, 2 * size))
    return np.linalg.eigvalsh(x @ x.T)


SPECTRA = {
    "power law": pareto(2.5, 150),
    "steep": pareto(30, 150),
    "noise": noise(120),
    "two values": np.repeat([1.0, 3.0], 30),
    "steps": np.sort(np.random.default_rng(1).integers(1, 9, 90)).astype(float),
    "wide": np.exp(np.linspace(-12, 12, 80)),
    "few": pareto(2.0, 4),
    # Different numbers with equal logarithms.
    "neighbours": 1e300 * (1 + np.arange(60) * 2.0**-52),
}


def slow_exponents(values, seed):
    """One fit after the other, each of a drawn sample."""
    descending = values[::-1]
    return np.array(
        [
            fit.alpha if (fit := fit_power_law(np.repeat(descending, drawn)[::-1])) else np.nan
            for counts in module._counts(len(values), seed)
            for drawn in counts
        ]
    )


@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
def test_resamples_are_searched_like_any_values(values):
    expected = slow_exponents(values, seed=3)
    assert len(expected) == RESAMPLES
    exponents = Bootstrap(values, 3).exponents()
    assert exponents == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_the_interval_leaves_out_four_resamples_on_either_side():
    """Of 99 and the next one, 5 % are expected below the fifth, and 5 % above the fifth last."""
    bootstrap = Bootstrap(noise(60), 1)
    some = np.sort(bootstrap.exponents())
    assert bootstrap.interval() == Interval(some[4], some[-5])
    assert bootstrap.interval() == Interval(*np.quantile(some, (0.05, 0.95), method="weibull"))


def test_every_value_is_as_likely_to_be_drawn():
    counts = np.concatenate([c for seed in range(20) for c in module._counts(50, seed)])
    assert (counts.sum(axis=1) == 50).all()
    error = counts.std() / np.sqrt(len(counts))
    assert np.abs(counts.mean(axis=0) - 1).max() < 4 * error
    assert counts.var() == pytest.approx(1 - 1 / 50, abs=0.02)


@pytest.mark.parametrize("values", [noise(60), SPECTRA["steps"]], ids=["distinct", "ties"])
@pytest.mark.parametrize(
    "option",
    [
        {"_TOGETHER": 7},
        {"_VALUES": 100},
        {"_CACHED": 0},
        {"_PROBES": (0.5,)},
        {"_EXCESS": 0.0},
        {"_FEW": 0},
        {"_FEW": 1000},
    ],
    ids=str,
)
def test_batches_and_what_is_compared_first_change_nothing(monkeypatch, values, option):
    whole = Bootstrap(values, 1).exponents()
    module._kept.cache_clear()
    for name, value in option.items():
        monkeypatch.setattr(module if hasattr(module, name) else resample_search, name, value)
    assert np.array_equal(Bootstrap(values, 1).exponents(), whole)
    module._kept.cache_clear()


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 64, 65, 100])
def test_a_likely_peak_is_never_below_its_candidate(rows):
    logs = np.sort(np.random.default_rng(rows).normal(size=rows))[::-1]
    peaks = likely_peaks(logs, np.ones(rows, np.int64))
    assert (peaks <= np.arange(rows)).all()


def test_the_verdict_is_that_of_the_interval_with_fewer_resamples():
    saved = 0
    for seed in range(40):
        values = pareto(2 + seed / 4, 100, seed)
        interval = Bootstrap(values, seed).interval()
        for width in (0.5, interval.high - interval.low, 2.0):
            one = Bootstrap(values, seed)
            assert one.is_within(width) == (interval.high - interval.low <= width)
            saved += RESAMPLES - len(one._alphas)
            # What is drawn later continues the same sequence.
            assert one.interval() == interval
    assert saved > 40 * RESAMPLES


def test_intervals_follow_their_seed():
    values = pareto(2.5, 100)
    assert Bootstrap(values, 1).interval() == Bootstrap(values, 1).interval()
    assert Bootstrap(values, 1).interval() != Bootstrap(values, 2).interval()


def test_values_that_may_all_be_equal_have_no_interval():
    bootstrap = Bootstrap(np.array([1.0, 2.0]), 0)
    assert bootstrap.interval() is None
    assert not bootstrap.is_within(1e9)


@pytest.mark.slow
def test_intervals_hold_planted_exponents():
    """Forty trials; `benchmarks/nulls.py` makes two hundred."""
    rng = np.random.default_rng(11)
    held = 0
    for trial in range(40):
        alpha = rng.uniform(2, 5)
        interval = Bootstrap(np.sort(rng.pareto(alpha - 1, 500) + 1), trial).interval()
        assert interval.low < interval.high
        held += interval.low <= alpha <= interval.high
    assert held / 40 >= 0.7


def columns(eigenvalues, level, seed=0):
    sigma = np.sqrt(np.sort(eigenvalues))[::-1]
    spectrum = Spectrum(sigma, len(sigma), len(sigma), "gram_f64", 0.0)
    return compute_metrics(Measurement(MOMENTS, 1e-6, spectrum, None, seed), level)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
def test_alpha_is_as_reliable_in_every_metric_set(values, seed):
    values = values / values.max()
    standard, full = (columns(values, level, seed) for level in METRIC_LEVELS[1:])
    assert standard["alpha_reliable"] is full["alpha_reliable"]
    narrow = full["alpha_low"] is not None and full["alpha_high"] - full["alpha_low"] <= 2
    if full["alpha"] is not None:
        assert full["alpha_reliable"] is (full["alpha_tail_count"] >= 20 and narrow)


def test_a_tail_is_reliable_when_it_is_long_and_its_interval_narrow():
    long = columns(pareto(2.5, 400), "full")
    assert long["alpha_reliable"] is True
    assert long["alpha_low"] <= long["alpha"] <= long["alpha_high"] <= long["alpha_low"] + 2
    short = columns(pareto(2.5, 19), "standard")
    assert short["alpha_tail_count"] < 20
    assert short["alpha_reliable"] is False
    # Long, and steep enough for a wide interval.
    steep = columns(pareto(31, 400), "full")
    assert steep["alpha_high"] - steep["alpha_low"] > 2
    assert steep["alpha_reliable"] is False


def test_the_standard_error_does_not_make_a_fit_reliable():
    """For a known xmin this interval is narrow; with the choice of xmin it is not."""
    row = columns(noise(400, seed=5), "full")
    low, high = row["alpha_low"], row["alpha_high"]
    assert row["alpha_tail_count"] >= 20
    assert high - low > 1.5 * 2 * 1.645 * row["alpha_stderr"]
    assert row["alpha_reliable"] is False
