"""Mixtures with dynamic gates, in which every token has experts of its own number."""

import mlx.core as mx
import numpy as np
import pytest
from tiny_mixtures import EXPERTS, loaded, mixture, rows

from mlx_probe.lab.moe.gate.dynamic import DynamicGate
from mlx_probe.lab.moe.gate.install import install_gates
from mlx_probe.lab.moe.routing import measure_routing
from mlx_probe.lab.moe.routing.balance import balance_of


@pytest.mark.parametrize("factor", [0.0, float(EXPERTS)])
def test_a_dynamic_gate(factor):
    tokens = rows(2, 16)
    with mx.stream(mx.cpu):
        model = mixture("mixtral")
        generator = np.random.default_rng(0)

        def gate(layer, block):
            drawn = generator.standard_normal(block.gate.weight.shape).astype("f4")
            return DynamicGate(mx.array(drawn), mx.full(EXPERTS, -2.2))

        record = install_gates(model, "block_sparse_moe", gate, factor)
        before = np.array(model(mx.array(tokens[:, :-1])))
        with record.kept() as layers:
            mx.eval(model(mx.array(tokens[:, :-1])))
        gates = [(np.array(each.weights), np.array(each.active)) for each in layers]
        found = measure_routing(loaded(model), tokens, lambda *_: None)
        assert np.array_equal(np.array(model(mx.array(tokens[:, :-1]))), before)
    for (weights, active), layer in zip(gates, found.layers, strict=True):
        weights, active = weights.reshape(-1, EXPERTS), active.reshape(-1, EXPERTS)
        counts = active.sum(1)
        assert len(set(counts.tolist())) > 1
        assert np.array_equal(layer.active, active)
        scale = counts[:, None] / factor if factor else 1
        np.testing.assert_allclose(layer.weights, weights * scale, rtol=1e-5)
        assert np.array_equal(layer.assignments, active.sum(0))
        assert layer.load.sum() == pytest.approx(1)
        assert balance_of(layer).mean_active == pytest.approx(counts.mean())
        assert layer.router.reason == "a gate of thresholds ranks no experts"
