"""Divergence and information of experts, against scipy and by their definitions."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from tiny_mixtures import layer_of

from mlx_probe.lab.moe.routing.specialisation import position_bins, specialisation


@pytest.fixture(scope="module")
def layer():
    generator = np.random.default_rng(0)
    indices = np.array([generator.permutation(4)[:2] for _ in range(80)])
    return layer_of(indices, generator.random(indices.shape) < 0.9)


def test_divergence_and_information(layer):
    groups = np.random.default_rng(1).integers(3, size=80)
    found = specialisation(layer, groups, 4)
    counts = np.zeros((5, 4))
    for chosen, uses, group in zip(layer.indices, layer.active, groups, strict=True):
        for expert in chosen[uses]:
            counts[expert, group] += 1
    for expert in range(4):
        wanted = jensenshannon(counts[expert], counts.sum(0), base=2) ** 2
        assert found.divergence[expert] == pytest.approx(wanted)
    assert np.isnan(found.divergence[4])
    joint = counts / counts.sum()
    information = sum(
        joint[e, g] * np.log2(joint[e, g] / (joint[e].sum() * joint[:, g].sum()))
        for e, g in zip(*np.nonzero(joint), strict=True)
    )
    assert found.information == pytest.approx(information)
    np.testing.assert_allclose(found.load[:, :3], counts[:, :3] / counts[:, :3].sum(0))
    np.testing.assert_allclose(found.load.sum(0), [1, 1, 1, 0])


def test_an_expert_of_its_own_for_each_group():
    groups = np.array([0, 1, 2, 3, 4] * 6)
    found = specialisation(layer_of(groups[:, None]), groups, 5)
    assert found.information == pytest.approx(np.log2(5))
    alone = jensenshannon([1, 0, 0, 0, 0], [0.2] * 5, base=2) ** 2
    np.testing.assert_allclose(found.divergence, alone)
    same = specialisation(layer_of([[0], [1]] * 15), np.repeat([0, 1, 2], 10), 3)
    assert same.information == pytest.approx(0)
    np.testing.assert_allclose(same.divergence[:2], 0, atol=1e-12)


def test_positions_are_eight_parts_of_a_row():
    assert position_bins(np.arange(16), 16).tolist() == [i // 2 for i in range(16)]
    assert position_bins(np.arange(3), 3).tolist() == [0, 2, 5]
