"""Sums over tokens of what experts' surprise is, against a loop."""

import numpy as np
import pytest

from mlx_probe.lab.moe.signals.agreement import rank_correlations
from mlx_probe.lab.moe.signals.gradients import ExpertGradients
from mlx_probe.lab.moe.signals.surprise import expert_sums, total


def drawn(seed, tokens=30, experts=6, count=3):
    generator = np.random.default_rng(seed)
    indices = np.stack([generator.permutation(experts)[:count] for _ in range(tokens)])
    weights = generator.random((tokens, count)).astype("f4")
    # A token without a least weight, and one with a single expert.
    weights[0] = 1 / 3
    active = np.ones((tokens, count), bool)
    active[1, 1:] = False
    block = generator.random(tokens)
    output = weights.astype("f8") * block[:, None]
    gradients = ExpertGradients(indices.astype("i4"), output, generator.random(output.shape), block)
    return gradients, weights, active


def test_sums():
    gradients, weights, active = drawn(0)
    found = expert_sums(gradients, weights, active, 6)
    agrees, chance, tokens, heard = 0, 0.0, np.zeros(6), np.zeros(6)
    for t in range(30):
        places = np.flatnonzero(active[t])
        for place in places:
            tokens[gradients.indices[t, place]] += 1
            heard[gradients.indices[t, place]] += gradients.input[t, place]
        if t > 1:
            agrees += weights[t].argmin() == gradients.input[t].argmin()
            chance += 1 / 3
    assert found.counted[0] == 28
    assert found.output_agrees[0] == 28
    assert found.input_agrees[0] == agrees
    assert found.chance[0] == pytest.approx(chance)
    np.testing.assert_allclose(found.tokens, tokens)
    np.testing.assert_allclose(found.input, heard)
    assert found.tokens.sum() == active.sum()
    assert found.least_weight.sum() == found.least_input.sum() == 28
    assert found.off[0] < 1e-15
    # Another weight shows.
    weights = weights.copy()
    weights[4, 0] += 0.1
    assert expert_sums(gradients, weights, active, 6).off[0] > 1e-3


def test_windows_add_up():
    parts = [expert_sums(*drawn(seed), 6) for seed in (1, 2)]
    whole = total(parts)
    np.testing.assert_allclose(whole.output, parts[0].output + parts[1].output)
    assert whole.counted[0] == 56
    assert whole.off[0] == max(parts[0].off[0], parts[1].off[0])


def test_one_expert_has_no_least():
    gradients, weights, active = drawn(0, count=1)
    found = expert_sums(gradients, weights, active, 6)
    assert found.counted[0] == found.least_weight.sum() == found.chance[0] == 0


def test_rank_correlations():
    first = [0.1, 0.5, 0.2, 0.9, 0.7]
    values = {
        "first": first,
        "cubes": [-(x**3) for x in first],
        "other": [3.0, 1.0, 2.0, None, 5.0],
        "same": [1.0] * 5,
    }
    found = rank_correlations(values)
    assert found[0][1] == pytest.approx(-1)
    ranks = np.corrcoef([1, 3, 2, 4], [3, 1, 2, 4])[0, 1]
    assert found[0][2] == found[2][0] == pytest.approx(ranks)
    assert found[0][3] is None
    assert found[3] == [None] * 4
