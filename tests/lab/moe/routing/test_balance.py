"""Loads and pairs of experts, counted by hand; planted experts are found in four families."""

import mlx.core as mx
import numpy as np
import pytest
from tiny_mixtures import ACTIVE, EXPERTS, layer_of, loaded, mixture, rows

from mlx_probe.lab.moe.routing import measure_routing
from mlx_probe.lab.moe.routing.balance import balance_of, coactivation


def gini(loads):
    """By its definition, over all pairs."""
    pairs = np.abs(loads[:, None] - loads[None]).sum()
    return pairs / (2 * len(loads) * loads.sum())


@pytest.mark.parametrize("seed", range(3))
def test_balance_is_its_definition(seed):
    generator = np.random.default_rng(seed)
    indices = np.array([generator.permutation(4)[:2] for _ in range(60)])
    active = generator.random(indices.shape) < 0.8
    layer = layer_of(indices, active)
    found = balance_of(layer)
    assert found.gini == pytest.approx(gini(layer.load))
    used = layer.load[layer.load > 0]
    assert found.entropy == pytest.approx(-(used * np.log(used)).sum())
    assert found.effective == pytest.approx(np.exp(found.entropy))
    assert found.dead == (4,)
    assert found.mean_active == pytest.approx(active.sum() / 60)
    pairs = np.zeros((5, 5), int)
    for chosen, uses in zip(indices, active, strict=True):
        for one in chosen[uses]:
            for other in chosen[uses]:
                pairs[one, other] += 1
    together = coactivation(layer)
    assert np.array_equal(together, pairs)
    assert np.array_equal(together.diagonal(), layer.assignments)


def test_extremes():
    even = layer_of([[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]])
    assert balance_of(even).gini == pytest.approx(0)
    assert balance_of(even).effective == pytest.approx(5)
    one = balance_of(layer_of([[3]] * 7))
    assert one.gini == pytest.approx(1 - 1 / 5)
    assert (one.effective, one.dead) == (pytest.approx(1), (0, 1, 2, 4))


def test_more_tokens_than_are_counted_at_once():
    indices = np.random.default_rng(0).integers(5, size=(9001, 1))
    assert np.array_equal(coactivation(layer_of(indices)), np.diag(np.bincount(indices.ravel())))


ROUTER = {
    "qwen3_moe": lambda layer: layer.mlp.gate,
    "mixtral": lambda layer: layer.block_sparse_moe.gate,
    "deepseek_v3": lambda layer: layer.mlp.gate,
    "granitemoe": lambda layer: layer.block_sparse_moe.router.layer,
}


@pytest.mark.parametrize("family", ROUTER)
def test_a_dead_expert_and_one_that_is_preferred_are_found(family):
    with mx.stream(mx.cpu):
        settings = {"n_group": 1, "topk_group": 1} if family == "deepseek_v3" else {}
        model = mixture(family, scale=0.1, **settings)
        # A direction that all tokens share, by which the router prefers 2 and shuns 5.
        embedded = 5 * np.array(model.model.embed_tokens.weight)
        embedded[:, 0] = 3
        model.model.embed_tokens.weight = mx.array(embedded)
        for layer in model.layers:
            router = ROUTER[family](layer)
            weights = 10 * np.array(router.weight)
            weights[:, 0] = 0
            weights[2, 0], weights[5, 0] = 9, -9
            router.weight = mx.array(weights)
            if "e_score_correction_bias" in router:
                router.e_score_correction_bias = mx.zeros(EXPERTS)
        found = measure_routing(loaded(model), rows(4, 40), lambda *_: None)
    for layer in found.layers:
        balance = balance_of(layer)
        assert balance.dead == (5,)
        assert layer.load.argmax() == 2
        assert layer.load[2] == pytest.approx(1 / ACTIVE)
        assert balance.gini > 0.5
        assert balance.effective < EXPERTS
