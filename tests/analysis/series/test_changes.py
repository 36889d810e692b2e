"""Change points: the programme against all ways to cut, and what drift alone says."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.analysis.series.changes import change_points, penalty
from mlx_probe.analysis.series.drift import Drift, drift_of


def dense_cost(y, walk, noise):
    """The least squares of a level that walks, by its normal equations."""
    known = np.flatnonzero(~np.isnan(y))
    if len(known) < 2:
        return 0.0
    y, between = y[known], np.asarray([walk[a + 1 : b + 1].sum() for a, b in pairwise(known)])
    covariance = np.diag(np.full(len(y), noise))
    positions = np.concatenate([[0.0], np.cumsum(between)])
    covariance += np.minimum.outer(positions, positions)
    # A level that nobody knows before: the generalised least squares of a constant.
    inverse = np.linalg.inv(covariance + 1e8)
    away = y - y.mean()
    return float(away @ inverse @ away - (inverse @ away).sum() ** 2 / inverse.sum())


def cheapest(y, walk, noise, price):
    """The least cost of all ways to cut, and the cuts."""
    count, best = len(y), (np.inf, ())
    places = [at for at in range(1, count) if not np.isnan(y[at])]
    for number in range(len(places) + 1):
        for cuts in combinations(places, number):
            ends = zip((0, *cuts), (*cuts, count), strict=True)
            parts = [dense_cost(y[a:b], walk[a:b], noise) for a, b in ends]
            best = min(best, (sum(parts) + price * number, cuts))
    return best


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(3, 8), st.sampled_from([0.0, 0.3, 1.0]))
def test_the_cuts_are_the_cheapest(seed, count, noise):
    rng = np.random.default_rng(seed)
    y = np.cumsum(rng.standard_normal(count)) + 4.0 * (np.arange(count) >= count // 2)
    y[rng.random(count) < 0.15] = np.nan
    walk = np.concatenate([[0.0], rng.uniform(0.5, 2.0, count - 1)])
    price = float(rng.uniform(1.0, 6.0))
    ((*found,),) = change_points(y[None], Drift(walk[None], np.asarray([noise])), price)
    cost, _ = cheapest(y, walk, noise, price)
    ends = [at for at, _ in found]
    own = sum(
        dense_cost(y[a:b], walk[a:b], noise)
        for a, b in zip((0, *ends), (*ends, count), strict=True)
    )
    assert own + price * len(ends) == pytest.approx(cost, abs=1e-5)
    for _, score in found:
        assert score >= 0


def test_the_score_is_what_the_cut_saves():
    y = np.asarray([[0.0, 0.0, 0.0, 5.0, 5.0]])
    drift = Drift(np.asarray([[0.0, 1.0, 1.0, 1.0, 1.0]]), np.zeros(1))
    assert change_points(y, drift, 10.0) == [[(3, pytest.approx(5.0))]]
    assert change_points(y, drift, 26.0) == [[]]


def drifting(rng, kind, series=60, count=20):
    steps = np.arange(1, count + 1) * 100.0
    noise = 0.02 * rng.standard_normal((series, count))
    return {
        "walk": np.cumsum(noise, axis=1),
        "noise": noise,
        "power law": rng.standard_normal((series, 1)) * np.log(steps) + 0.2 * noise,
        "line": rng.standard_normal((series, 1)) * steps / 1000 + 0.2 * noise,
        "still": np.zeros((series, count)),
    }[kind], steps


KINDS = ("walk", "noise", "power law", "line", "still")


def searched(values, steps):
    drift = drift_of(values, steps, np.full(len(values), 0.01))
    return change_points(values, drift, penalty(8 * values.size, 0.01))


@pytest.mark.parametrize("kind", KINDS)
def test_drift_alone_is_no_change(kind, rng):
    assert sum(map(len, searched(*drifting(rng, kind)))) == 0


@pytest.mark.parametrize("kind", ["walk", "noise", "still"])
@pytest.mark.parametrize("place", [4, 10, 19])
def test_a_halved_column_is_found_at_its_place(kind, place, rng):
    values, steps = drifting(rng, kind)
    values[0, place:] -= np.log(2.0)
    first, *others = searched(values, steps)
    assert [at for at, _ in first] == [place]
    assert not any(others)


def test_a_value_that_is_missing_is_no_change(rng):
    values, steps = drifting(rng, "walk")
    values[:, 7] = np.nan
    values[1] = np.nan
    values[0, 8:] += 2.0
    first, *others = searched(values, steps)
    assert [at for at, _ in first] == [8]
    assert not any(others)


def test_the_order_of_the_series_changes_nothing(rng):
    values, steps = drifting(rng, "walk")
    values[3, 5:] += 1.0
    order = rng.permutation(len(values))
    shuffled = searched(values[order], steps)
    assert [shuffled[at] for at in np.argsort(order)] == searched(values, steps)
