"""Bootstrap intervals: of known variance, of chunks, of sums that are zero."""

import numpy as np
import pytest

from mlx_probe.lab.evaluate import bootstrap
from mlx_probe.lab.evaluate.bootstrap import ratio_intervals


def test_the_interval_of_a_mean_is_the_normal_one():
    random = np.random.default_rng(0)
    values = random.normal(3, 2, 2000)
    low, high = ratio_intervals({"mean": (values, np.ones(2000))}, seed=1)["mean"]
    half = 1.96 * values.std() / np.sqrt(2000)
    # 1,000 resamples know the ends within some percent.
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 8)


def test_it_covers_the_truth_as_often_as_promised():
    random = np.random.default_rng(1)
    hits = 0
    for trial in range(100):
        bytes_ = random.integers(50, 500, 60).astype(float)
        nats = bytes_ * random.normal(0.7, 0.2, 60)
        low, high = ratio_intervals({"r": (nats, bytes_)}, seed=trial, resamples=300)["r"]
        hits += low <= 0.7 <= high
    # 95 expected; 5 standard deviations of 2.2, and a little for the percentile method.
    assert 82 <= hits <= 100


def test_a_resample_has_whole_units():
    # Two units: each resample has one of three ratios.
    above, below = np.array([1.0, 9.0]), np.array([1.0, 3.0])
    low, high = ratio_intervals({"r": (above, below)}, seed=0)["r"]
    assert (low, high) == (1.0, 3.0)


def test_the_seed_decides_whatever_the_chunks(monkeypatch):
    random = np.random.default_rng(2)
    ratios = {"a": (random.random(50), np.ones(50)), "b": (random.random(50), np.ones(50))}
    whole = ratio_intervals(ratios, seed=5)
    assert ratio_intervals(ratios, seed=5) == whole
    assert ratio_intervals(ratios, seed=6) != whole
    monkeypatch.setattr(bootstrap, "_CHUNK", 50 * 7)
    assert ratio_intervals(ratios, seed=5) == whole


def test_a_sum_of_nothing_is_no_number():
    found = ratio_intervals({"bits": (np.ones(3), np.zeros(3))}, seed=0)["bits"]
    assert all(not np.isfinite(end) for end in found)
