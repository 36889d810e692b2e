"""Predictive Integrity and its running means, against numpy in float64."""

import math

import numpy as np
import pytest

from mlx_probe.lab.moe.signals.integrity import (
    WARM_UP,
    RunningScore,
    integral,
    integrity,
    integrity_z,
)


def test_integrity():
    assert integrity(0.0, 0.0) == 1.0
    assert integrity(1.2, 3.0) == pytest.approx(math.exp(-(0.6 + 1.5)))
    assert integrity(1.2, 3.0, alpha=2, gamma=0.25) == pytest.approx(math.exp(-2 * (0.9 + 0.75)))
    # What a real model's gradient does to it.
    assert integrity(1.0, 18.6) < 6e-5


def test_the_standardized_form():
    assert integrity_z(0.0, 0.0) == 1.0
    assert integrity_z(1.0, -2.0) == pytest.approx(1.0)
    assert integrity_z(1.0, 2.0, alpha=2, gamma=0.25) == pytest.approx(math.exp(-3))
    assert integrity_z(None, 1.0) is None
    assert integrity_z(1.0, None) is None
    assert math.isfinite(integrity_z(-1e6, 0.0))


def test_the_integral_over_a_run():
    values = [0.2, 0.5, 0.9]
    wanted = np.mean(values) * np.exp(-3 * np.var(values))
    assert integral(values, delta=3) == pytest.approx(wanted)
    assert integral([0.4] * 5) == pytest.approx(0.4)


@pytest.mark.parametrize("decay", [0.9, 0.99])
def test_running_means_forget_by_the_decay(decay):
    values = np.random.default_rng(0).normal(5, 2, 60)
    score = RunningScore(decay)
    for count, value in enumerate(values):
        found = score(value)
        if count < WARM_UP:
            assert found is None
            continue
        before, weights = values[:count], decay ** np.arange(count)[::-1]
        mean = np.average(before, weights=weights)
        deviation = np.sqrt(np.average((before - mean) ** 2, weights=weights))
        assert found == pytest.approx((value - mean) / deviation, rel=1e-9)


def test_nothing_is_unusual_among_equal_numbers():
    score = RunningScore()
    assert [score(3.0) for _ in range(20)] == [None] * 20
