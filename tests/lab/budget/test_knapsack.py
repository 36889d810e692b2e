"""The choice against all choices there are."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.lab.budget.knapsack import InfeasibleError, solve

# Whole numbers: their sums are exact, and two choices can be equal.
_CLASS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=5)
_CLASSES = st.lists(_CLASS, min_size=1, max_size=6)


def arrays(classes):
    pairs = [np.array(options, float).T for options in classes]
    return [values for values, _ in pairs], [weights for _, weights in pairs]


def best_value(classes, limit):
    sums = ((sum(v for v, _ in picks), sum(w for _, w in picks)) for picks in product(*classes))
    return min((value for value, weight in sums if weight <= limit), default=None)


@settings(max_examples=300, deadline=None)
@given(_CLASSES, st.integers(0, 150))
def test_the_choice_is_the_best_of_all(classes, limit):
    values, weights = arrays(classes)
    best = best_value(classes, limit)
    if best is None:
        with pytest.raises(InfeasibleError) as refused:
            solve(values, weights, limit)
        assert refused.value.least == sum(min(w for _, w in each) for each in classes)
        return
    found = solve(values, weights, limit)
    assert found.value == best
    assert found.bound == pytest.approx(best, rel=1e-9, abs=1e-9)
    picked = [options[pick] for options, pick in zip(classes, found.picks, strict=True)]
    assert found.value == sum(v for v, _ in picked)
    assert found.weight == sum(w for _, w in picked) <= limit


@settings(max_examples=200, deadline=None)
@given(_CLASSES, st.integers(0, 150))
def test_the_bound_holds_where_the_gap_is_left_open(classes, limit):
    values, weights = arrays(classes)
    best = best_value(classes, limit)
    if best is None:
        return
    found = solve(values, weights, limit, states=0)
    assert found.weight <= limit
    assert found.bound - 1e-9 <= best <= found.value


@pytest.mark.parametrize("seed", range(3))
def test_many_classes_against_dynamic_programming_over_every_weight(seed):
    random = np.random.default_rng(seed)
    weights = [np.sort(random.integers(1, 40, 7)).astype(float) for _ in range(60)]
    values = [np.sort(random.integers(1, 500, 7))[::-1].astype(float) for _ in range(60)]
    limit = 900
    best = np.full(limit + 1, np.inf)
    best[0] = 0
    for value, weight in zip(values, weights, strict=True):
        new = np.full(limit + 1, np.inf)
        for v, w in zip(value, weight.astype(int), strict=True):
            new[w:] = np.minimum(new[w:], best[: limit + 1 - w] + v)
        best = new
    found = solve(values, weights, limit)
    assert found.value == best.min()
    assert found.bound == found.value
    # The relaxation alone is near.
    rough = solve(values, weights, limit, states=0)
    assert rough.bound <= best.min() <= rough.value <= 1.05 * best.min()


def test_too_many_states_leave_a_true_bound():
    random = np.random.default_rng(5)
    values = [random.random(20) for _ in range(40)]
    weights = [random.random(20) for _ in range(40)]
    open_ = solve(values, weights, 8.0, states=4)
    closed = solve(values, weights, 8.0)
    assert open_.bound < closed.value <= open_.value
    assert closed.bound == closed.value


def test_hull_of_a_convex_curve_is_the_whole_curve():
    # Ranks: each costs the same, and the squares of singular values fall.
    squares = np.sort(np.random.default_rng(1).random(200))[::-1]
    tails = [np.cumsum(squares[::-1])[::-1]] * 3
    weights = [np.arange(200.0)] * 3
    found = solve(tails, weights, 100.0)
    assert found.weight == 100
    assert sorted(found.picks) == [33, 33, 34]
    assert found.bound == pytest.approx(found.value, rel=1e-9)
