"""What noise looks like: the law by quadrature, nulls without false alarms, planted signals."""

import math

import numpy as np
import pytest
from matrices import orthonormal, store

from mlx_probe.core.records import Moments, RankCount, Spectrum
from mlx_probe.metrics import Measurement, compute_metrics
from mlx_probe.metrics.random_matrix import noise_level, null_singular_values

MOMENTS = Moments(9, 0, 0, 0, 0, 0.0, 1.0, 0.0, 3.0, -1.0, 1.0, (0.0,) * 5, "F32", 0.0)
ASPECTS = (1.0, 0.5, 0.25, 0.1)


def columns(sigma, rows, cols, error=1e-9):
    spectrum = Spectrum(np.asarray(sigma, float), rows, cols, "gram_f64", error)
    return compute_metrics(Measurement(MOMENTS, 1e-6, spectrum), "standard")


def density_integral(beta, upper):
    """The law's share below a point, by quadrature of its density."""
    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2
    angle = np.linspace(0, math.acos(1 - 2 * (upper - low) / (high - low)), 200_001)
    x = low + (high - low) * (1 - np.cos(angle)) / 2
    inside = np.maximum((high - x) * (x - low), 0)
    dx = (high - low) * np.sin(angle) / 2
    f = np.sqrt(inside) / (2 * math.pi * beta * np.maximum(x, 1e-300)) * dx
    f[0] = 0.0 if beta < 1 else f[1]
    return float(np.trapezoid(f, angle))


@pytest.mark.parametrize("beta", [1.0, 0.99, 0.75, 0.5, 0.1, 0.01])
def test_the_law_is_the_integral_of_its_density(beta):
    rows, cols = round(100 * beta), 100
    null = null_singular_values(rows, cols, 1.0)
    assert np.all(np.diff(null) < 0)
    for place in range(0, rows, max(rows // 7, 1)):
        share = 1 - (place + 0.5) / rows
        assert density_integral(beta, null[place] ** 2 / cols) == pytest.approx(share, abs=2e-6)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_noise_has_the_singular_values_that_the_null_says(aspect):
    rng = np.random.default_rng(1)
    shape = round(400 * aspect), 400
    sigma = np.linalg.svd(0.3 * rng.standard_normal(shape), compute_uv=False)
    null = null_singular_values(*shape, 0.3)
    assert np.abs(sigma - null).max() < 0.05 * null[0]
    assert noise_level(sigma, *shape) == pytest.approx(0.3, rel=0.01)
    # The same of the transpose.
    assert noise_level(sigma, *shape[::-1]) == noise_level(sigma, *shape)


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_noise_has_no_spikes_and_no_rank(dtype):
    """Two hundred matrices; `benchmarks/nulls.py` takes larger ones."""
    rng = np.random.default_rng(2)
    spikes, ranked = [], []
    for trial in range(200):
        short = (64, 128)[trial % 2]
        shape = short, round(short / ASPECTS[trial % 4])
        _, x = store(rng.standard_normal(shape), dtype)
        row = columns(np.linalg.svd(x, compute_uv=False), *shape)
        spikes.append(row["spikes"])
        ranked.append(row["gd_rank"] > 0)
        assert 0.8 < row["mp_softrank"] < 1.2
    assert np.mean(spikes) <= 0.05
    assert np.mean(ranked) <= 0.05


def test_planted_signals_are_counted():
    """At 1.6 times the threshold of detection, (rows cols)^(1/4) s."""
    rng = np.random.default_rng(3)
    right = 0
    for trial in range(40):
        rows, cols = (256, 512) if trial % 2 else (300, 300)
        rank = int(rng.integers(1, 6))
        strength = 1.6 * (rows * cols) ** 0.25 * 0.02
        u, v = orthonormal(rng, rows, rank), orthonormal(rng, cols, rank)
        x = 0.02 * rng.standard_normal((rows, cols)) + strength * u @ v.T
        right += columns(np.linalg.svd(x, compute_uv=False), rows, cols)["spikes"] == rank
    assert right / 40 >= 0.95


def test_strong_directions_do_not_move_the_noise_level():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((200, 300))
    before = noise_level(np.linalg.svd(x, compute_uv=False), 200, 300)
    x += 1e3 * rng.standard_normal((200, 5)) @ rng.standard_normal((5, 300))
    row = columns(np.linalg.svd(x, compute_uv=False), 200, 300)
    assert noise_level(np.linalg.svd(x, compute_uv=False), 200, 300) == pytest.approx(
        before, rel=0.05
    )
    assert row["spikes"] == row["gd_rank"] == 5
    assert row["mp_softrank"] < 1e-4


def test_without_a_bulk_there_is_no_null():
    sigma = np.concatenate(([5.0, 4.0], np.full(8, 1e-9)))
    names = ("mp_edge", "mp_softrank", "spikes", "gd_rank")
    assert all(columns(sigma, 10, 10, error=1e-8)[name] is None for name in names)
    assert all(columns(np.zeros(4), 4, 4)[name] is None for name in names)
    assert all(columns([3.0], 1, 9)[name] is None for name in names)
    count = RankCount(3, 3, 4, "cholesky_f64", 1e-8)
    row = compute_metrics(Measurement(MOMENTS, 1e-6, count), "standard")
    assert all(row[name] is None for name in names)


def test_thresholds_by_hand():
    # Of a square matrix the law's median is 0.6528: 4 = s sqrt(100 * 0.6528).
    sigma = np.full(100, 4.0)
    noise = 4 / math.sqrt(100 * 0.65276)
    row = columns(sigma, 100, 100)
    assert row["mp_edge"] == pytest.approx(noise * 20, rel=1e-4)
    # 4 / sqrt(3) over the root of that median is the best known threshold of 2.858 medians.
    assert columns([2.87 * 4, *sigma[1:]], 100, 100)["gd_rank"] == 1
    assert columns([2.85 * 4, *sigma[1:]], 100, 100)["gd_rank"] == 0
    ends = math.sqrt(99), 10.0
    scale = sum(ends) * (1 / ends[0] + 1 / ends[1]) ** (1 / 3)
    threshold = noise * math.sqrt(sum(ends) ** 2 + 2.4224 * scale)
    assert columns([threshold * 1.001, *sigma[1:]], 100, 100)["spikes"] == 1
    assert columns([threshold * 0.999, *sigma[1:]], 100, 100)["spikes"] == 0
