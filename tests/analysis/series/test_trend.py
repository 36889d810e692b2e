"""Trends against SciPy."""

import numpy as np
import pytest
from scipy import stats

from mlx_probe.analysis.series.trend import adjusted, trend_of


@pytest.mark.parametrize("ties", [False, True])
def test_slope_and_correlation(ties, rng):
    steps = np.cumsum(rng.integers(1, 9, 25)).astype(float)
    values = 0.01 * steps + rng.standard_normal(25)
    values = np.round(values) if ties else values
    trend = trend_of(values, steps)
    assert trend.slope == pytest.approx(stats.theilslopes(values, steps).slope, abs=1e-12)
    if not ties:
        assert trend.tau == pytest.approx(stats.kendalltau(values, steps).statistic)


def test_independent_values_have_the_chance_of_the_plain_test(rng):
    steps = np.arange(30.0)
    values = rng.standard_normal((40, 30))
    ours = np.asarray([trend_of(row, steps).p for row in values])
    theirs = np.asarray(
        [stats.kendalltau(row, steps, method="asymptotic").pvalue for row in values]
    )
    # Ours corrects for continuity, and where neighbours happen to be alike.
    assert (ours >= theirs - 1e-9).all()
    assert np.median(ours - theirs) < 0.05


def test_a_trend_and_none():
    steps = np.arange(20.0)
    assert trend_of(steps**2, steps).p < 1e-3
    still = trend_of(np.ones(20), steps)
    assert (still.slope, still.tau, still.p) == (0.0, 0.0, 1.0)
    assert trend_of(np.asarray([1.0, np.nan, 2.0, 3.0, 4.0]), np.arange(5.0)) is None


def test_many_tests(rng):
    chances = rng.random(50) ** 3
    assert adjusted(chances) == pytest.approx(stats.false_discovery_control(chances))
