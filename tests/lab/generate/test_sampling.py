"""Filters and draws against their definitions, in float64."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.generate.config import GenerateConfig, SamplingConfig
from mlx_probe.lab.generate.sampling import (
    TOLERANCE,
    Sampler,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize,
)

# Quarters, so that many logits are equal.
LOGITS = st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=1, max_size=700)


def softmax(logits):
    values = np.asarray(logits, np.float64)
    values = np.exp(values - values.max())
    return values / values.sum()


def ranked(logits):
    """Token numbers, the most likely first; of equal ones the smallest first."""
    return np.argsort(-np.asarray(logits), kind="stable")


def kept(array):
    return set(np.flatnonzero(np.isfinite(np.array(array))).tolist())


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.integers(1, 800))
def test_top_k_keeps_the_k_first(logits, k):
    array = keep_top_k(mx.array(logits), k)
    assert kept(array) == set(ranked(logits)[:k].tolist())
    assert all(
        np.array(array)[list(kept(array))] == np.array(logits, np.float32)[list(kept(array))]
    )


@settings(max_examples=100, deadline=None)
@given(LOGITS, st.floats(1e-3, 1))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits, p):
    count = len(kept(keep_top_p(mx.array(logits), p)))
    order = ranked(logits)
    assert kept(keep_top_p(mx.array(logits), p)) == set(order[:count].tolist())
    mass = np.cumsum(softmax(logits)[order])
    assert mass[count - 1] >= p - 2 * TOLERANCE
    assert count == 1 or mass[count - 2] < p


@pytest.mark.parametrize(("size", "p", "count"), [(8, 0.5, 4), (10, 0.3, 3), (1000, 0.25, 250)])
def test_top_p_that_equal_tokens_reach_exactly(size, p, count):
    # mlx-lm keeps all of them.
    assert kept(keep_top_p(mx.zeros(size), p)) == set(range(count))


def test_top_p_of_a_large_vocabulary():
    logits = np.random.default_rng(0).normal(0, 2, 150_000).astype(np.float32)
    for p in (0.5, 0.9, 0.999):
        count = len(kept(keep_top_p(mx.array(logits), p)))
        mass = np.cumsum(softmax(logits)[ranked(logits)])
        assert p - 2 * TOLERANCE <= mass[count - 1]
        assert mass[count - 2] < p


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.sampled_from([0.0, 1 / 64, 0.1, 0.5, 1.0]))
def test_min_p_keeps_what_is_likely_enough(logits, p):
    probabilities = softmax(logits)
    # Not at the limit itself, which float32 cannot tell from its neighbours.
    surely = np.flatnonzero(probabilities > p * probabilities.max() * (1 + 1e-5))
    perhaps = np.flatnonzero(probabilities >= p * probabilities.max() * (1 - 1e-5))
    assert set(surely.tolist()) <= kept(keep_min_p(mx.array(logits), p)) <= set(perhaps.tolist())


@settings(max_examples=40, deadline=None)
@given(LOGITS, st.data())
def test_penalty_is_that_of_transformers(logits, data):
    seen = data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits)))
    penalty = data.draw(st.sampled_from([0.5, 1.0, 1.3, 2.0]))
    values = np.array(logits)
    expected = np.where(values > 0, values / penalty, values * penalty)
    result = penalize(mx.array(logits), mx.array(seen), penalty)
    np.testing.assert_allclose(np.array(result), np.where(seen, expected, values), rtol=1e-6)


def test_filters_act_one_after_the_other():
    logits = [np.log(x) for x in (0.4, 0.3, 0.2, 0.06, 0.04)]
    # Of the four that top-k leaves, two have 0.7 / 0.96 of the probability, which is 0.73.
    sampler = Sampler(SamplingConfig(top_k=4, top_p=0.73))
    assert kept(sampler.distribution(mx.array(logits))) == {0, 1, 2}
    sampler = Sampler(SamplingConfig(top_k=4, top_p=0.72))
    assert kept(sampler.distribution(mx.array(logits))) == {0, 1}
    # At temperature 1/2 the probabilities are squares: 0.16 is a quarter of nothing but 0.09.
    sampler = Sampler(SamplingConfig(temperature=0.5, min_p=0.5))
    assert kept(sampler.distribution(mx.array(logits))) == {0, 1}


def test_draws_follow_the_distribution():
    logits = mx.array([np.log(x) for x in (0.5, 0.25, 0.15, 0.1)])
    sampler = Sampler(SamplingConfig(top_k=3, seed=3))
    counts = np.bincount([sampler(logits).item() for _ in range(3000)], minlength=4)
    expected = np.array([0.5, 0.25, 0.15]) / 0.9
    # 5 standard deviations of 3,000 draws.
    assert np.abs(counts[:3] / 3000 - expected).max() < 5 * 0.5 / np.sqrt(3000)
    assert counts[3] == 0


def test_the_seed_decides_and_the_global_state_is_left_alone():
    logits = mx.array(np.random.default_rng(0).normal(size=50).astype(np.float32))
    mx.random.seed(1)
    expected = mx.random.uniform(shape=(4,)).tolist()

    def draws(seed):
        sampler = Sampler(SamplingConfig(seed=seed, repetition_penalty=1.2), [3])
        return [sampler(logits).item() for _ in range(20)]

    mx.random.seed(1)
    first = draws(7)
    assert mx.random.uniform(shape=(4,)).tolist() == expected
    assert draws(7) == first
    assert draws(8) != first


def test_temperature_zero_takes_the_first_of_the_most_likely():
    sampler = Sampler(SamplingConfig(temperature=0, top_k=1))
    assert sampler(mx.array([0.0, 2.0, 2.0, 1.0])).tolist() == [1]


def test_a_very_low_temperature_makes_no_infinity():
    sampler = Sampler(SamplingConfig(temperature=1e-6))
    assert [sampler(mx.array([1e3, -1e3, 999.0])).item() for _ in range(3)] == [0, 0, 0]


def test_a_penalty_remembers_what_was_drawn():
    sampler = Sampler(SamplingConfig(temperature=0, repetition_penalty=4), [2])
    logits = mx.array([1.0, 2.0, 7.0])
    assert [sampler(logits).item() for _ in range(3)] == [1, 2, 2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_no_distribution(bad, temperature):
    sampler = Sampler(SamplingConfig(temperature=temperature))
    assert sampler(mx.array([0.0, bad, 1.0])).tolist() == [-1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": 1e-9},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"min_p": -0.1},
        {"min_p": 2},
        {"repetition_penalty": 0},
        {"seed": -1},
        {"top_k": "many"},
    ],
)
def test_settings_that_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SamplingConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"max_tokens": 0}, {"stop": ("",)}])
def test_lengths_that_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        GenerateConfig(**wrong)
